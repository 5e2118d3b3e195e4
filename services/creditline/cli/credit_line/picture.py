"""Enlargement of pictures for display."""

from __future__ import annotations

from PIL import Image


def enlarged(picture: Image.Image, *, side: int) -> Image.Image:
    """The picture, enlarged with Lanczos resampling if its longer side is under `side` pixels."""
    factor = side / max(picture.size)
    if factor <= 1:
        return picture
    size = (round(picture.width * factor), round(picture.height * factor))
    return picture.resize(size, Image.Resampling.LANCZOS)
