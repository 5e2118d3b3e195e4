"""Samples of a decoded picture in any of Pillow's modes, as eight bits per channel."""

from __future__ import annotations

from typing import Any

from PIL import Image

_DEEP_GREY_MODES = ("I;16", "I;16L", "I;16B", "I;16N", "I", "F")
_KEPT_MODES = ("L", "LA", "RGB", "RGBA", "CMYK", "LAB")
_PREMULTIPLIED = {"La": "LA", "RGBa": "RGBA"}


def eight_bit(opened: Image.Image, *, depth: int) -> Image.Image:
    """A loaded picture as L, LA, RGB, RGBA, CMYK or LAB; transparency of any form is its alpha channel.

    Returns:
        The picture itself where it is in such a mode already: a copy of a large one would take much memory.

    Args:
        opened: The picture.
        depth: Bits per sample in the file.
    """
    if opened.mode in _DEEP_GREY_MODES:
        # Numpy takes longer to import than most pictures take to decode, and its memory.
        from creditline.pictures.deep_grey import from_deep_grey

        return from_deep_grey(opened)
    if opened.mode in _PREMULTIPLIED:
        return opened.convert(_PREMULTIPLIED[opened.mode])
    if opened.mode in ("L", "RGB") and "transparency" in opened.info:
        opened.info["transparency"] = _in_eight_bits(opened.info["transparency"], depth)
    if opened.has_transparency_data:
        return opened if opened.mode in ("LA", "RGBA") else opened.convert("RGBA")
    return opened if opened.mode in _KEPT_MODES else opened.convert("RGB")


def _in_eight_bits(transparent: Any, depth: int) -> Any:
    """The transparent grey or colour of a PNG file in Pillow's samples; Pillow gives it in the file's."""
    if isinstance(transparent, tuple):
        return tuple(_in_eight_bits(sample, depth) for sample in transparent)
    if not isinstance(transparent, int):
        return transparent
    return transparent >> 8 if depth == 16 else transparent * 255 // (2**depth - 1)
