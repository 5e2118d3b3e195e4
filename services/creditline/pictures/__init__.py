"""Decoding and preparation of pictures."""
