"""Grey pictures of more than eight bits, as eight bits. Imports numpy, which few pictures need."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_SIXTEEN_BIT_MODES = ("I;16", "I;16L", "I;16B", "I;16N")
_MOST_OF_SIXTEEN_BITS = 65_535.0
# The values of white that files of 32-bit or floating-point grey commonly use, smallest first.
_WHITES = {"I": (255.0, _MOST_OF_SIXTEEN_BITS), "F": (1.0, 255.0, _MOST_OF_SIXTEEN_BITS)}
_LEAST_SPAN = 1e-30
_PHOTOMETRIC_TAG = 262
_WHITE_IS_ZERO = 0
# Large pictures are converted in strips, which bounds memory.
_STRIP_PIXELS = 1 << 20


def from_deep_grey(opened: Image.Image) -> Image.Image:
    """L, or LA where one grey is transparent.

    Args:
        opened: A loaded picture in mode I or F, or one of the modes of 16-bit grey.
    """
    is_sixteen_bit = opened.mode in _SIXTEEN_BIT_MODES or opened.format == "PNG"
    black, white = (0.0, _MOST_OF_SIXTEEN_BITS) if is_sixteen_bit else _range(opened, _WHITES[opened.mode])
    grey = np.empty((opened.height, opened.width), np.uint8)
    for top, values in _strips(opened):
        grey[top : top + len(values)] = _scaled(_finite(values), black, white)
    picture = Image.fromarray(255 - grey if _is_white_zero(opened) else grey)
    transparent = opened.info.get("transparency")
    if isinstance(transparent, int):
        alpha = np.empty_like(grey)
        for top, values in _strips(opened):
            alpha[top : top + len(values)] = np.where(values == transparent, 0, 255)
        picture.putalpha(Image.fromarray(alpha))
    return picture


def _strips(opened: Image.Image) -> Iterator[tuple[int, NDArray[Any]]]:
    """Rows of the picture: the first row's number, and their values (rows, width)."""
    rows = max(1, _STRIP_PIXELS // opened.width)
    for top in range(0, opened.height, rows):
        yield top, np.asarray(opened.crop((0, top, opened.width, min(top + rows, opened.height))))


def _finite(values: NDArray[Any]) -> NDArray[np.float32]:
    return np.nan_to_num(values.astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0)


def _range(opened: Image.Image, whites: Sequence[float]) -> tuple[float, float]:
    """The values of black and white, which files do not state.

    White is the smallest of `whites` that is not exceeded, and black is 0; where there are negative or larger
    values, black and white are the least and the greatest value.
    """
    ends = [(float(values.min()), float(values.max())) for values in map(_finite, _values(opened))]
    least, greatest = min(low for low, _ in ends), max(high for _, high in ends)
    if least < 0.0 or greatest > whites[-1]:
        return least, greatest
    return 0.0, next(white for white in whites if greatest <= white)


def _values(opened: Image.Image) -> Iterator[NDArray[Any]]:
    return (values for _, values in _strips(opened))


def _scaled(values: NDArray[np.float32], black: float, white: float) -> NDArray[np.uint8]:
    """Values from black to white as 0 to 255, rounded."""
    span = max(white - black, _LEAST_SPAN)
    scaled: NDArray[np.uint8] = np.rint((values - black) * (255.0 / span)).clip(0, 255).astype(np.uint8)
    return scaled


def _is_white_zero(opened: Image.Image) -> bool:
    """Whether 0 is white, which Pillow heeds in TIFF files of at most eight bits only."""
    tags: Any = getattr(opened, "tag_v2", {})
    return bool(tags.get(_PHOTOMETRIC_TAG) == _WHITE_IS_ZERO)
