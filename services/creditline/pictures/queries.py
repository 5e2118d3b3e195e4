"""Untrusted pictures of queries: checked, decoded within limits, and prepared for the embedder."""

from __future__ import annotations

import io

from PIL import Image, ImageOps

from creditline.errors import InvalidInput

MOST_BYTES = 20_000_000
_MOST_PIXELS = 40_000_000
_MOST_ALLOWED = f"at most {_MOST_PIXELS:,} pixels are allowed: scale it down"
# The towers' input is smaller than this; a larger picture would only cost time to send.
_LONGEST_SIDE_PIXELS = 512
_FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")
_FIELD = "image"
_WHITE = (255, 255, 255, 255)
_SIXTEEN_BIT_MODES = ("I", "I;16", "I;16L", "I;16B", "I;16N")
_SIXTEEN_TO_EIGHT_BITS = 1 / 257
_PNG_LEVEL = 1


def query_picture(image: bytes) -> bytes:
    """The picture as a PNG file: RGB on white, upright, its longest side at most 512 pixels.

    Args:
        image: Content of a PNG, JPEG, WebP, GIF, BMP or TIFF file; of an animation, the first frame is used.

    Raises:
        InvalidInput: The picture is empty, in another format, damaged, or larger than 20,000,000 bytes or
            40,000,000 pixels.
    """
    opened = _opened(_checked_size(image))
    try:
        return _png(_on_white(opened))
    except Exception as error:  # Pillow's decoders raise many types of errors on damaged files
        raise InvalidInput(
            f"image is a damaged {opened.format} file of {len(image):,} bytes ({_reason(error)}); it may be "
            "cut short: send the whole file",
            field=_FIELD,
        ) from error
    finally:
        opened.close()


def _checked_size(image: bytes) -> bytes:
    if not image:
        raise InvalidInput("image has 0 bytes; send a picture as a file's content", field=_FIELD)
    if len(image) > MOST_BYTES:
        raise InvalidInput(
            f"image has {len(image):,} bytes; at most {MOST_BYTES:,} are allowed: scale it down", field=_FIELD
        )
    return image


def _opened(image: bytes) -> Image.Image:
    """The picture, of which only the header has been read."""
    try:
        opened = Image.open(io.BytesIO(image), formats=_FORMATS)
    except Image.DecompressionBombError as error:
        raise InvalidInput(f"image is too large ({error}); {_MOST_ALLOWED}", field=_FIELD) from error
    except Exception as error:  # as above: a hostile header may raise many types of errors
        raise InvalidInput(
            f"image is not a picture ({len(image):,} bytes starting with {image[:8]!r}); send PNG, JPEG, "
            "WebP, GIF, BMP or TIFF",
            field=_FIELD,
        ) from error
    if opened.width * opened.height > _MOST_PIXELS:
        raise InvalidInput(f"image is {opened.width} × {opened.height} pixels; {_MOST_ALLOWED}", field=_FIELD)
    return opened


def _on_white(opened: Image.Image) -> Image.Image:
    """The picture as RGB on white, upright, its longest side at most `_LONGEST_SIDE_PIXELS`."""
    opened.draft("RGB", (_LONGEST_SIDE_PIXELS * 2, _LONGEST_SIDE_PIXELS * 2))
    opened.load()
    small = _eight_bits(opened)
    small.thumbnail((_LONGEST_SIDE_PIXELS, _LONGEST_SIDE_PIXELS), Image.Resampling.LANCZOS)
    upright = ImageOps.exif_transpose(small)
    if upright.mode != "RGBA":
        return upright.convert("RGB")
    canvas = Image.new("RGBA", upright.size, _WHITE)
    canvas.alpha_composite(upright)
    return canvas.convert("RGB")


def _eight_bits(opened: Image.Image) -> Image.Image:
    """The picture as RGB, or as RGBA when it has an alpha channel or a transparent palette entry."""
    if opened.mode in _SIXTEEN_BIT_MODES:
        return (
            opened.convert("I")
            .point(lambda value: value * _SIXTEEN_TO_EIGHT_BITS)
            .convert("L")
            .convert("RGB")
        )
    return opened.convert("RGBA" if opened.has_transparency_data else "RGB")


def _png(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", compress_level=_PNG_LEVEL)
    return buffer.getvalue()


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__
