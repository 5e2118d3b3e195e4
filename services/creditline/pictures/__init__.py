"""Decoding and preparation of pictures.

Public modules: `decoding`, `headers`, `pixels`, `preparation`, `queries`. The others belong to `decoding`.
"""
