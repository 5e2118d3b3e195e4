"""Pictures as they are shown."""

from __future__ import annotations

from PIL import Image


def enlarged(picture: Image.Image, *, side: int) -> Image.Image:
    """The picture with its longer side at least `side` pixels, smoothly."""
    factor = side / max(picture.size)
    if factor <= 1:
        return picture
    size = (round(picture.width * factor), round(picture.height * factor))
    return picture.resize(size, Image.Resampling.LANCZOS)
