"""Pictures of queries: within the gateway's limit of bytes, as pixels for the embedder, as a file to keep."""

from __future__ import annotations

import io

from creditline.errors import InvalidInput
from creditline.pictures.decoding import MOST_PIXELS, decode
from creditline.pictures.pixels import RgbPixels

MOST_BYTES = 20_000_000
"""Largest file of a query's picture, in bytes."""
QUERY_FIELD = "image"
"""Name of the request's field with the picture, for errors."""
_WEBP_TYPE, _PNG_TYPE = "image/webp", "image/png"


def query_pixels(image: bytes, *, most_pixels: int = MOST_PIXELS) -> RgbPixels:
    """The pixels of a query's picture, as `decode` returns it.

    Args:
        image: Content of a file that `decode` reads.
        most_pixels: Largest number of pixels that are decoded.

    Raises:
        InvalidInput: The picture cannot be decoded, or is larger than `MOST_BYTES`.
    """
    check_size(image)
    return RgbPixels.of(decode(image, field=QUERY_FIELD, most_pixels=most_pixels))


def check_size(image: bytes) -> None:
    """Raise InvalidInput for a file of more than `MOST_BYTES`."""
    if len(image) > MOST_BYTES:
        raise InvalidInput(
            f"image has {len(image):,} bytes; at most {MOST_BYTES:,} are allowed: scale it down",
            field=QUERY_FIELD,
        )


def recorded_file(pixels: RgbPixels) -> bytes:
    """A file to keep of a decoded picture: lossless WebP, which decodes to the same pixels."""
    buffer = io.BytesIO()
    pixels.picture().save(buffer, format="WEBP", lossless=True, quality=0, method=0)
    return buffer.getvalue()


def media_type(recorded: bytes) -> str:
    """Media type of a file that `recorded_file` made, or that was recorded as PNG before version 0.2."""
    return _WEBP_TYPE if recorded[8:12] == b"WEBP" else _PNG_TYPE
