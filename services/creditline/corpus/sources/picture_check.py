"""Whether encoded pictures can be decoded to their end."""

from __future__ import annotations

import io
import warnings

from PIL import Image, UnidentifiedImageError

from creditline.corpus.row_batches import one_line

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp")
# Pillow knows more formats; some of them start other programs.
_FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP")
# A JPEG is decoded small: all its bytes are read, few of its pixels made.
_LOOK_SIDE_PIXELS = 64


def picture_fault(encoded: bytes) -> str:
    """What is wrong with a picture, as the end of a sentence; empty when it can be decoded to its end."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            _decode(encoded)
    except UnidentifiedImageError:
        return f"is none ({len(encoded)} bytes in no known format)"
    except Exception as error:  # Foreign bytes: Pillow's readers raise whatever comes.
        return f"cannot be decoded ({one_line(error)})"
    return ""


def _decode(encoded: bytes) -> None:
    """Raises whatever Pillow does, also for a picture of more than 179 million pixels."""
    with _opened(encoded) as picture:
        picture.verify()  # Checksums, where the format has them; the picture is of no use afterwards.
    with _opened(encoded) as picture:
        picture.draft("RGB", (_LOOK_SIDE_PIXELS, _LOOK_SIDE_PIXELS))
        picture.load()


def _opened(encoded: bytes) -> Image.Image:
    return Image.open(io.BytesIO(encoded), formats=_FORMATS)
