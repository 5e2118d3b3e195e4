"""Decoded pixels, in the form in which they go from process to process."""

from __future__ import annotations

from dataclasses import dataclass, field

from PIL import Image

_MODE = "RGB"
_BYTES_PER_PIXEL = 3


@dataclass(frozen=True)
class RgbPixels:
    """A decoded picture.

    Raises:
        ValueError: `rgb` does not have three bytes per pixel.
    """

    width: int
    """Width in pixels."""
    height: int
    """Height in pixels."""
    rgb: bytes = field(repr=False)
    """The samples in rows from the top: width · height · 3 bytes."""

    def __post_init__(self) -> None:
        expected = self.width * self.height * _BYTES_PER_PIXEL
        if min(self.width, self.height) < 1 or len(self.rgb) != expected:
            raise ValueError(
                f"{self.width} × {self.height} pixels in RGB are {expected:,} bytes, not {len(self.rgb):,}"
            )

    @classmethod
    def of(cls, picture: Image.Image) -> RgbPixels:
        """The pixels of a picture in mode RGB."""
        return cls(*picture.size, picture.tobytes())

    def picture(self) -> Image.Image:
        """The pixels as a picture in mode RGB."""
        return Image.frombytes(_MODE, (self.width, self.height), self.rgb)
