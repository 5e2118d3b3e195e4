"""The one decoder of pictures: of queries, of works, and of checks of a corpus.

Whatever a file holds, the result is sRGB on white, upright, and its longest side is at most 512 pixels. The
same file always gives the same pixels, and decoding a result again changes nothing: it does not matter
whether a client, the gateway or the embedder shrinks a picture, nor whether several of them do.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from PIL import Image, UnidentifiedImageError, features
from PIL.GifImagePlugin import GifImageFile

from creditline.errors import InvalidInput
from creditline.pictures.colours import to_srgb
from creditline.pictures.png_chunks import check_critical_chunks, without_ancillary_chunks
from creditline.pictures.samples import eight_bit

MOST_PIXELS = 40_000_000
"""Largest number of pixels that are decoded; baseline JPEG files are reduced while they are decoded."""
LONGEST_SIDE_PIXELS = 512
"""Longest side of a decoded picture; the towers' input is smaller."""
# Pillow reads more formats, but some of them start external programs.
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", *(("AVIF",) if features.check("avif") else ()))
"""Formats that are read, by Pillow's names."""
FORMAT_NAMES = f"PNG, JPEG, WebP, GIF, BMP{', TIFF or AVIF' if 'AVIF' in FORMATS else ' or TIFF'}"
"""Names of the formats, for messages."""

_CUT_SHORT = "it may be cut short: use the whole file"
_NEEDS_MEMORY = "needs more memory to decode than is allowed"
_SCALE_DOWN_OR_FLATTEN = "scale it down, or use 8 bits per channel and no layers, pages or animation"
# In a check no more pixels are computed than needed, but all bytes are read.
_CHECKED_SIDE_PIXELS = 64
_ORIENTATION_TAG = 0x0112
_UPRIGHT: Mapping[int, Image.Transpose] = MappingProxyType(
    {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_270,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_90,
    }
)
# Pillow warns about what it ignores. A filter for one block would not be thread-safe.
warnings.filterwarnings("ignore", module=r"PIL\.")


@dataclass(eq=False)
class _FaultError(Exception):
    """A picture that cannot be used."""

    fault: str
    """The fault, as the end of a sentence about the picture."""
    remedy: str
    """What to do about it."""


def decode(
    image: bytes,
    *,
    field: str,
    name: str = "",
    longest_side: int = LONGEST_SIDE_PIXELS,
    most_pixels: int = MOST_PIXELS,
) -> Image.Image:
    """Decode a picture to upright sRGB on white.

    Embedded colour profiles are converted to sRGB; a profile or metadata that cannot be read are ignored. Of
    16 bits per channel the upper eight remain, of an animation or a file of several pages the first picture.

    Args:
        image: Content of a file in one of `FORMATS`.
        field: Name of the request's or the work's field, for errors.
        name: What messages call the picture; by default `field`.
        longest_side: A picture with a longer side, in pixels, is scaled down to this; others keep their size.
        most_pixels: Largest number of pixels that are decoded.

    Raises:
        InvalidInput: The picture is empty, in another format, damaged, has more than `most_pixels` pixels, or
            needs more memory than the process may use (see `ran_out_of_memory`).
    """
    try:
        return _decoded(image, longest_side, most_pixels)
    except _FaultError as error:
        raise InvalidInput(f"{name or field} {error.fault}; {error.remedy}", field=field) from error


def ran_out_of_memory(error: BaseException | None) -> bool:
    """Whether an error of `decode` was caused by a limit of memory."""
    while error is not None and not isinstance(error, MemoryError):
        error = error.__cause__
    return error is not None


def picture_fault(image: bytes) -> str:
    """Check that `decode` can decode a picture.

    Returns:
        The fault, as the end of a sentence about the picture; empty if there is none.
    """
    try:
        _decoded(image, _CHECKED_SIDE_PIXELS, MOST_PIXELS)
    except _FaultError as error:
        return error.fault
    return ""


def is_small(image: bytes, *, longest_side: int = LONGEST_SIDE_PIXELS) -> bool:
    """Whether decoding leaves the size of a picture as it is, by its header; False if that cannot be read.

    Args:
        image: Content of a file.
        longest_side: Longest side that `decode` leaves, in pixels.
    """
    try:
        with Image.open(io.BytesIO(image), formats=FORMATS) as opened:
            return max(opened.size) <= longest_side
    except Exception:  # as in _decoded
        return False


def _decoded(image: bytes, longest_side: int, most_pixels: int) -> Image.Image:
    if not image:
        raise _FaultError("is empty (0 bytes)", "give the content of a file")
    try:
        check_critical_chunks(image)
        return _decoded_by_pillow(image, longest_side, most_pixels)
    except _FaultError:
        raise
    except MemoryError as error:
        raise _FaultError(_NEEDS_MEMORY, _SCALE_DOWN_OR_FLATTEN) from error
    except Exception as error:  # Pillow's decoders raise many types of errors on hostile or damaged files
        plain = without_ancillary_chunks(image)
        if plain is not None:
            return _decoded(plain, longest_side, most_pixels)
        raise _fault_of(image, error, most_pixels) from error


def _fault_of(image: bytes, error: Exception, most_pixels: int) -> _FaultError:
    if isinstance(error, UnidentifiedImageError):
        return _FaultError(
            f"is not in a known format ({len(image):,} bytes)",
            f"it starts with {image[:8]!r}: use {FORMAT_NAMES}",
        )
    reason = " ".join(str(error).split()) or type(error).__name__
    too_large = isinstance(error, Image.DecompressionBombError)
    return _FaultError(f"cannot be decoded ({reason})", _scale_down(most_pixels) if too_large else _CUT_SHORT)


def _scale_down(most_pixels: int) -> str:
    return f"at most {most_pixels:,} pixels are allowed: scale it down"


def _decoded_by_pillow(image: bytes, longest_side: int, most_pixels: int) -> Image.Image:
    with Image.open(io.BytesIO(image), formats=FORMATS) as opened:
        full_size = opened.size
        # JPEG files are reduced by 2, 4 or 8 while they are decoded; other formats ignore this.
        opened.draft(None, (2 * longest_side, 2 * longest_side))
        if _pixels_to_decode(opened, full_size) > most_pixels:
            raise _FaultError(f"is {full_size[0]} × {full_size[1]} pixels", _scale_down(most_pixels))
        frame = _frame_box(opened)
        opened.load()
        samples = eight_bit(opened, depth=_bit_depth(image))
        if frame is not None:
            samples = _outside_transparent(samples, frame)
        # Read before the picture is scaled down, which drops what a JPEG file says besides its pixels.
        profile, turned = opened.info.get("icc_profile"), _UPRIGHT.get(_orientation(opened))
        samples.thumbnail((longest_side, longest_side), Image.Resampling.LANCZOS)
        coloured = to_srgb(samples, profile)
        return _on_white(coloured if turned is None else coloured.transpose(turned))


def _pixels_to_decode(opened: Image.Image, full_size: tuple[int, int]) -> int:
    """Number of pixels that the decoder holds; that of progressive JPEG holds all of them."""
    width, height = full_size if opened.info.get("progressive") else opened.size
    return width * height


def _bit_depth(image: bytes) -> int:
    """Bits per sample of a PNG file, which Pillow does not report; 8 for other files."""
    return image[24] if image.startswith(b"\x89PNG") else 8


def _frame_box(opened: Image.Image) -> tuple[int, int, int, int] | None:
    """Box (left, top, right, bottom) of a GIF file's first frame; None where it fills the canvas."""
    if not isinstance(opened, GifImageFile) or not opened.tile:
        return None
    box = opened.tile[0][1]
    return None if box == (0, 0, *opened.size) else box


def _outside_transparent(picture: Image.Image, box: tuple[int, int, int, int]) -> Image.Image:
    """The picture as RGBA, transparent outside the box: Pillow fills that with the first palette entry."""
    canvas = Image.new("RGBA", picture.size, (0, 0, 0, 0))
    canvas.paste(picture.convert("RGBA").crop(box), box)
    return canvas


def _orientation(opened: Image.Image) -> int:
    """Orientation by EXIF or XMP, 1 to 8; 1 where there is none or it cannot be read."""
    try:
        return int(opened.getexif().get(_ORIENTATION_TAG, 1))
    except Exception:  # Pillow's readers of metadata raise errors of any type
        return 1


def _on_white(picture: Image.Image) -> Image.Image:
    if picture.mode == "RGB":
        return picture
    canvas = Image.new("RGBA", picture.size, "white")
    canvas.alpha_composite(picture)
    return canvas.convert("RGB")
