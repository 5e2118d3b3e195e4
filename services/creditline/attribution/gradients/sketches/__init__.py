"""Sketches: gradient rows compressed to a few kilobytes per work, made without the whole row in memory.

`making` makes them, `sparse` and `factored` are the maps, `low_rank` stores a matrix by its factors, and
`formats` stores numbers in one byte or half a byte.
"""
