"""The gateway under load and hostile callers, as real processes on loopback. One module per group of figures.

`make load` runs all of them; each fills its own figures of `load.json`.
"""
