"""Preparation of works' pictures: composited on white, cropped to their content, centred in a square."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops

from creditline.errors import InvalidInput
from creditline.pictures.decoding import decode, is_small

WHITE = (255, 255, 255)
# A pixel is content when one of its channels (0 to 255) differs from white by more than this.
_CONTENT_THRESHOLD = 12
_MARGIN = 0.04
# A larger picture is reduced while it is decoded; no later step needs more.
_LONGEST_SIDE_PIXELS = 1024
_THUMBNAIL_SIDE_PIXELS, _THUMBNAIL_QUALITY = 256, 85


def open_on_white(path: Path) -> Image.Image:
    """Open a picture of any size and mode as RGB on white, its longest side at most 1,024 pixels.

    The files are local and trusted (a distribution's package), so Pillow's limit on pixels is lifted for
    this call. Large pictures are reduced while they are decoded.
    """
    limit = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = None
    try:
        with warnings.catch_warnings(), Image.open(path) as opened:
            warnings.simplefilter("ignore")
            factor = max(1, max(opened.size) // _LONGEST_SIDE_PIXELS)
            reduced = opened.reduce(factor) if factor > 1 and opened.mode in ("RGB", "RGBA", "L") else opened
            rgba = reduced.convert("RGBA")
    finally:
        Image.MAX_IMAGE_PIXELS = limit
    rgba.thumbnail((_LONGEST_SIDE_PIXELS, _LONGEST_SIDE_PIXELS))
    canvas = Image.new("RGBA", rgba.size, (*WHITE, 255))
    canvas.alpha_composite(rgba)
    return canvas.convert("RGB")


def crop_to_content(picture: Image.Image) -> Image.Image | None:
    """The square around all content that is not white, with a margin of 4 %; None for a blank picture."""
    difference = ImageChops.difference(picture, Image.new("RGB", picture.size, WHITE))
    red, green, blue = difference.split()
    mask = ImageChops.lighter(ImageChops.lighter(red, green), blue)
    box = mask.point(lambda value: 255 if value > _CONTENT_THRESHOLD else 0).getbbox()
    if box is None:
        return None
    left, top, right, bottom = box
    side = max(right - left, bottom - top)
    side += 2 * max(1, round(side * _MARGIN))
    square = Image.new("RGB", (side, side), WHITE)
    content = picture.crop(box)
    square.paste(content, ((side - content.width) // 2, (side - content.height) // 2))
    return square


def encode_thumbnail(square: Image.Image, *, side: int, quality: int) -> bytes:
    """Resize a square picture and encode it as WebP.

    Args:
        square: The picture.
        side: Side of the thumbnail in pixels.
        quality: WebP quality, 0 to 100.
    """
    resized = square.resize((side, side), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    resized.save(buffer, format="WEBP", quality=quality, method=6)
    return buffer.getvalue()


def thumbnail_of(encoded: bytes) -> bytes:
    """A picture as a thumbnail, WebP; one that is a small WebP already is unchanged.

    Args:
        encoded: Content of a picture file; empty for a work without a picture.

    Returns:
        A WebP file with sides of at most 256 pixels; empty without a picture, or if it cannot be decoded.
    """
    if not encoded:
        return b""
    try:
        if encoded[8:12] == b"WEBP" and is_small(encoded, longest_side=_THUMBNAIL_SIDE_PIXELS):
            return encoded
        small = decode(encoded, field="thumbnail", longest_side=_THUMBNAIL_SIDE_PIXELS)
    except InvalidInput:
        return b""
    buffer = io.BytesIO()
    small.save(buffer, format="WEBP", quality=_THUMBNAIL_QUALITY)
    return buffer.getvalue()


def pixels(picture: Image.Image, *, side: int) -> NDArray[np.float32]:
    """RGB pixels of a picture, resized to a square of `side` pixels: (side, side, 3) float32 in [0, 1]."""
    rgb = picture.convert("RGB")
    if rgb.size != (side, side):
        rgb = rgb.resize((side, side), Image.Resampling.LANCZOS)
    return np.asarray(rgb, dtype=np.float32) / 255.0
