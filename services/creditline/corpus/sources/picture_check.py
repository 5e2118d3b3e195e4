"""Check that an encoded picture can be decoded completely."""

from __future__ import annotations

import io
import warnings

from PIL import Image, UnidentifiedImageError

from creditline.corpus.row_batches import one_line

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp")
# Pillow reads more formats, but some of them start external programs.
_FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP")
# A JPEG is decoded at a reduced size: all its bytes are read, but few pixels are computed.
_DRAFT_SIDE_PIXELS = 64


def picture_fault(encoded: bytes) -> str:
    """Check that a picture can be decoded completely.

    Returns:
        The fault, as the end of a sentence about the picture; empty if there is none.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            _decode(encoded)
    except UnidentifiedImageError:
        return f"is not in a known format ({len(encoded)} bytes)"
    except Exception as error:  # Pillow's readers raise errors of any type for malformed data.
        return f"cannot be decoded ({one_line(error)})"
    return ""


def _decode(encoded: bytes) -> None:
    """Decode a picture; raises Pillow's errors, also for pictures of more than 179 million pixels."""
    with _opened(encoded) as picture:
        picture.verify()  # Checksums, in formats that have them; the picture is unusable afterwards.
    with _opened(encoded) as picture:
        picture.draft("RGB", (_DRAFT_SIDE_PIXELS, _DRAFT_SIDE_PIXELS))
        picture.load()


def _opened(encoded: bytes) -> Image.Image:
    return Image.open(io.BytesIO(encoded), formats=_FORMATS)
