"""The form in which a corpus stores pictures: unchanged up to a size, and as they are decoded above it."""

from __future__ import annotations

import io

from creditline.pictures.decoding import decode, is_small

# Larger pictures are stored smaller.
KEPT_SIDE_PIXELS = 1024
KEPT_BYTES = 1 << 20


def stored_picture(encoded: bytes) -> bytes:
    """A picture as a corpus stores it, which decodes to the same pixels as the given one.

    A picture whose sides are at most 1,024 pixels and whose file has at most 1 MiB is left unchanged, byte
    for byte. Any other is stored as `decode` returns it, as a PNG file with sides of at most 512 pixels.

    Args:
        encoded: Content of a picture file; empty for a work without a picture.

    Raises:
        InvalidInput: The picture is too large to keep and cannot be decoded.
    """
    if not encoded or (len(encoded) <= KEPT_BYTES and is_small(encoded, longest_side=KEPT_SIDE_PIXELS)):
        return encoded
    buffer = io.BytesIO()
    decode(encoded, field="picture").save(buffer, format="PNG")
    return buffer.getvalue()
