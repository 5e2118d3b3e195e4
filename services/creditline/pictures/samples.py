"""Samples of a decoded picture in any of Pillow's modes, as eight bits per channel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_SIXTEEN_BIT_MODES = ("I;16", "I;16L", "I;16B", "I;16N")
_MOST_OF_SIXTEEN_BITS = 65_535.0
# The values of white that files of 32-bit or floating-point grey commonly use, smallest first.
_WHITES = {"I": (255.0, _MOST_OF_SIXTEEN_BITS), "F": (1.0, 255.0, _MOST_OF_SIXTEEN_BITS)}
_KEPT_MODES = ("L", "LA", "RGB", "RGBA", "CMYK", "LAB")
_PREMULTIPLIED = {"La": "LA", "RGBa": "RGBA"}
_LEAST_SPAN = 1e-30
_PHOTOMETRIC_TAG = 262
_WHITE_IS_ZERO = 0


def eight_bit(opened: Image.Image, *, depth: int) -> Image.Image:
    """A loaded picture as L, LA, RGB, RGBA, CMYK or LAB; transparency of any form is its alpha channel.

    Args:
        opened: The picture.
        depth: Bits per sample in the file.
    """
    if opened.mode in _SIXTEEN_BIT_MODES or opened.mode in ("I", "F"):
        return _from_deep_grey(opened)
    if opened.mode in _PREMULTIPLIED:
        return opened.convert(_PREMULTIPLIED[opened.mode])
    if opened.mode in ("L", "RGB") and "transparency" in opened.info:
        opened.info["transparency"] = _in_eight_bits(opened.info["transparency"], depth)
    if opened.has_transparency_data:
        return opened.copy() if opened.mode in ("LA", "RGBA") else opened.convert("RGBA")
    return opened.copy() if opened.mode in _KEPT_MODES else opened.convert("RGB")


def _in_eight_bits(transparent: Any, depth: int) -> Any:
    """The transparent grey or colour of a PNG file in Pillow's samples; Pillow gives it in the file's."""
    if isinstance(transparent, tuple):
        return tuple(_in_eight_bits(sample, depth) for sample in transparent)
    if not isinstance(transparent, int):
        return transparent
    return transparent >> 8 if depth == 16 else transparent * 255 // (2**depth - 1)


def _from_deep_grey(opened: Image.Image) -> Image.Image:
    """L, or LA where one grey is transparent."""
    values = np.asarray(opened)
    finite = np.nan_to_num(values.astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0)
    is_sixteen_bit = opened.mode in _SIXTEEN_BIT_MODES or opened.format == "PNG"
    black, white = (0.0, _MOST_OF_SIXTEEN_BITS) if is_sixteen_bit else _range(finite, _WHITES[opened.mode])
    grey = _scaled(finite, black, white)
    picture = Image.fromarray(255 - grey if _is_white_zero(opened) else grey)
    transparent = opened.info.get("transparency")
    if isinstance(transparent, int):
        picture.putalpha(Image.fromarray(np.where(values == transparent, 0, 255).astype(np.uint8)))
    return picture


def _range(values: NDArray[np.float32], whites: Sequence[float]) -> tuple[float, float]:
    """The values of black and white, which files do not state.

    White is the smallest of `whites` that is not exceeded, and black is 0; where there are negative or larger
    values, black and white are the least and the greatest value.
    """
    least, greatest = float(values.min()), float(values.max())
    if least < 0.0 or greatest > whites[-1]:
        return least, greatest
    return 0.0, next(white for white in whites if greatest <= white)


def _scaled(values: NDArray[np.float32], black: float, white: float) -> NDArray[np.uint8]:
    """Values from black to white as 0 to 255, rounded."""
    span = max(white - black, _LEAST_SPAN)
    scaled: NDArray[np.uint8] = np.rint((values - black) * (255.0 / span)).clip(0, 255).astype(np.uint8)
    return scaled


def _is_white_zero(opened: Image.Image) -> bool:
    """Whether 0 is white, which Pillow heeds in TIFF files of at most eight bits only."""
    tags: Any = getattr(opened, "tag_v2", {})
    return bool(tags.get(_PHOTOMETRIC_TAG) == _WHITE_IS_ZERO)
