"""Decoding of untrusted pictures for the embedder: RGB on a white background.

A bad picture raises an error of its own request, so that it does not fail the other items of a batch.
"""

from __future__ import annotations

import io
import warnings

from PIL import Image, UnidentifiedImageError

from creditline.errors import InvalidInput

MOST_PIXELS = 40_000_000
# The towers' input is smaller than this.
_LONGEST_SIDE_PIXELS = 512
_FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")


def decode(image: bytes, *, field: str) -> Image.Image:
    """Decode a picture to RGB on white, its longest side at most 512 pixels.

    Args:
        image: Content of a PNG, JPEG, WebP, GIF, BMP or TIFF file; of an animation, the first frame is used.
        field: Name of the request's field, for errors.

    Raises:
        InvalidInput: The picture is empty, in another format, damaged, or has more than `MOST_PIXELS` pixels.
    """
    if not image:
        raise InvalidInput(f"{field} has 0 bytes; send a picture as a file's content", field=field)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(image), formats=_FORMATS) as opened:
                _refuse_large(opened, field)
                return _small_on_white(opened)
    except InvalidInput:
        raise
    except UnidentifiedImageError as error:
        raise InvalidInput(
            f"{field} is not a picture ({len(image):,} bytes starting with {image[:8]!r}); send PNG, JPEG,"
            " WebP, GIF, BMP or TIFF",
            field=field,
        ) from error
    except Exception as error:  # Pillow raises many types of errors on hostile or damaged files
        raise InvalidInput(
            f"{field} is a damaged picture of {len(image):,} bytes ({error}); it may be cut short: send the"
            " whole file",
            field=field,
        ) from error


def _refuse_large(opened: Image.Image, field: str) -> None:
    if opened.width * opened.height > MOST_PIXELS:
        raise InvalidInput(
            f"{field} is {opened.width} × {opened.height} pixels; at most {MOST_PIXELS:,} are"
            " allowed: scale it down",
            field=field,
        )


def _small_on_white(opened: Image.Image) -> Image.Image:
    transparent = opened.has_transparency_data
    small = opened.convert("RGBA" if transparent else "RGB")
    small.thumbnail((_LONGEST_SIDE_PIXELS, _LONGEST_SIDE_PIXELS), Image.Resampling.LANCZOS)
    if not transparent:
        return small
    canvas = Image.new("RGBA", small.size, "white")
    canvas.alpha_composite(small)
    return canvas.convert("RGB")
