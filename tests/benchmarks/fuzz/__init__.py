"""The API under random input, against real processes on loopback.

`make fuzz` runs all modules; each fills its own figures of `api-fuzz.json`. All input is ordinary input with
random changes, or made from the contract: none of it is built to hang a decoder.
"""
