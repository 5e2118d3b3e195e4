"""Pictures of queries: within the gateway's limit of bytes, and prepared for the embedder."""

from __future__ import annotations

import io

from creditline.errors import InvalidInput
from creditline.pictures.decoding import decode

MOST_BYTES = 20_000_000
"""Largest file of a query's picture, in bytes."""
_FIELD = "image"
_PNG_LEVEL = 1


def query_picture(image: bytes) -> bytes:
    """The picture as `decode` returns it, as a PNG file, which decodes to the same pixels.

    Args:
        image: Content of a file that `decode` reads.

    Raises:
        InvalidInput: The picture cannot be decoded, or is larger than `MOST_BYTES`.
    """
    if len(image) > MOST_BYTES:
        raise InvalidInput(
            f"image has {len(image):,} bytes; at most {MOST_BYTES:,} are allowed: scale it down", field=_FIELD
        )
    buffer = io.BytesIO()
    decode(image, field=_FIELD).save(buffer, format="PNG", compress_level=_PNG_LEVEL)
    return buffer.getvalue()
