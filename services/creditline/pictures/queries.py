"""Pictures that callers send: checked, decoded with care, and made ready for the embedder."""

from __future__ import annotations

import io

from PIL import Image, ImageOps

from creditline.errors import InvalidInput

MOST_BYTES = 20_000_000
_MOST_PIXELS = 40_000_000
_MOST_ALLOWED = f"at most {_MOST_PIXELS:,} pixels are taken: scale it down"
# The encoder's towers see less than this; a larger picture would only cost time on the way.
_LONGEST_SIDE_PIXELS = 512
_FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")
_FIELD = "image"
_WHITE = (255, 255, 255, 255)
_SIXTEEN_BIT_MODES = ("I", "I;16", "I;16L", "I;16B", "I;16N")
_SIXTEEN_TO_EIGHT_BITS = 1 / 257
_PNG_LEVEL = 1


def query_picture(image: bytes) -> bytes:
    """The picture as PNG: RGB on white, at most 512 pixels long; of an animation, its first frame.

    Raises InvalidInput when there is no picture, it is too large, in another format, or damaged.
    """
    opened = _opened(_sized(image))
    try:
        return _png(_on_white(opened))
    except Exception as error:  # Pillow's decoders raise nearly anything on damaged files
        raise InvalidInput(
            f"image is a damaged {opened.format} file of {len(image):,} bytes ({_reason(error)}); it may be "
            "cut short: send the whole file",
            field=_FIELD,
        ) from error
    finally:
        opened.close()


def _sized(image: bytes) -> bytes:
    if not image:
        raise InvalidInput("image has 0 bytes; send a picture as a file's content", field=_FIELD)
    if len(image) > MOST_BYTES:
        raise InvalidInput(
            f"image has {len(image):,} bytes; at most {MOST_BYTES:,} are taken: scale it down", field=_FIELD
        )
    return image


def _opened(image: bytes) -> Image.Image:
    """The picture with only its header read. Raises InvalidInput."""
    try:
        opened = Image.open(io.BytesIO(image), formats=_FORMATS)
    except Image.DecompressionBombError as error:
        raise InvalidInput(f"image is too large ({error}); {_MOST_ALLOWED}", field=_FIELD) from error
    except Exception as error:  # as above: a hostile header may raise nearly anything
        raise InvalidInput(
            f"image is not a picture ({len(image):,} bytes starting with {image[:8]!r}); send PNG, JPEG, "
            "WebP, GIF, BMP or TIFF",
            field=_FIELD,
        ) from error
    if opened.width * opened.height > _MOST_PIXELS:
        raise InvalidInput(f"image is {opened.width} × {opened.height} pixels; {_MOST_ALLOWED}", field=_FIELD)
    return opened


def _on_white(opened: Image.Image) -> Image.Image:
    """RGB on white, upright, small."""
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
    """RGB, or RGBA where the picture has any transparency (an alpha channel or a palette's)."""
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
