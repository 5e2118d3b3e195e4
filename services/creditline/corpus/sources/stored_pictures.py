"""The form in which a corpus stores pictures: unchanged up to a size, and re-encoded above it."""

from __future__ import annotations

import io
import warnings

from PIL import Image, ImageOps

from creditline.errors import InvalidInput

# No tower and no generator of the Stable Diffusion 1 and 2 families looks at more.
LONGEST_SIDE_PIXELS = 1024
MOST_BYTES = 1 << 20
_QUALITY = 95


def stored_picture(encoded: bytes) -> bytes:
    """A picture as a corpus stores it.

    A picture whose sides are at most 1,024 pixels and whose file has at most 1 MiB is left unchanged, byte
    for byte. Any other is upright, on white, at most 1,024 pixels wide and high, as JPEG of quality 95.

    Args:
        encoded: Content of a picture file; empty for a work without a picture.

    Raises:
        InvalidInput: The picture cannot be decoded.
    """
    if not encoded:
        return encoded
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(encoded)) as opened:
                if max(opened.size) <= LONGEST_SIDE_PIXELS and len(encoded) <= MOST_BYTES:
                    return encoded
                return _jpeg(opened)
    except Exception as error:  # Pillow raises errors of many types on damaged files.
        raise InvalidInput(
            f"a picture of {len(encoded):,} bytes cannot be decoded ({error}); store it again",
            field="picture",
        ) from error


def _jpeg(opened: Image.Image) -> bytes:
    opened.draft("RGB", (LONGEST_SIDE_PIXELS, LONGEST_SIDE_PIXELS))
    upright = ImageOps.exif_transpose(opened).convert("RGBA")
    upright.thumbnail((LONGEST_SIDE_PIXELS, LONGEST_SIDE_PIXELS), Image.Resampling.LANCZOS)
    canvas = Image.new("RGBA", upright.size, "white")
    canvas.alpha_composite(upright)
    buffer = io.BytesIO()
    canvas.convert("RGB").save(buffer, format="JPEG", quality=_QUALITY, subsampling=0)
    return buffer.getvalue()
