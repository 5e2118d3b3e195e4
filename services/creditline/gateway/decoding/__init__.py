"""Decoding of queries' pictures in processes of their own, which can be killed.

`DecoderPool` is what the gateway uses. A nursery process forks decoders, which takes milliseconds; each
decodes one picture at a time under limits of time, memory and pixels, and has no way to anything else.
"""
