"""Decoding and preparation of pictures.

Public modules: `decoding`, `preparation`, `queries`. The others belong to `decoding`.
"""
