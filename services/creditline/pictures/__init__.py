"""Decoding and preparation of pictures.

Public modules: `decoding`, `preparation`, `queries`.
"""
