"""Sizes of pictures by their headers, read without a decoder: what decoding will cost, before it starts."""

from __future__ import annotations

import struct
from collections.abc import Callable

_PNG, _JPEG, _BMP = b"\x89PNG\r\n\x1a\n", b"\xff\xd8", b"BM"
_GIF = (b"GIF87a", b"GIF89a")
_START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_STANDALONE = frozenset(range(0xD0, 0xD9)) | {0x01}
# Cameras write a few dozen segments before the frame; more are given up.
_MOST_SEGMENTS = 256


def declared_pixels(image: bytes) -> int | None:
    """Number of pixels that a file declares; None where its header does not state it or is not understood.

    Nothing is checked: the number is good for queueing, and no proof of what decoding takes.

    Args:
        image: Content of a PNG, JPEG, WebP, GIF or BMP file; others are not understood.
    """
    reader = _reader(image)
    if reader is None:
        return None
    try:
        width, height = reader(image)
    except (struct.error, IndexError, ValueError):
        return None
    return abs(width * height)


def _reader(image: bytes) -> Callable[[bytes], tuple[int, int]] | None:
    if image.startswith(_PNG):
        return _png_size
    if image.startswith(_JPEG):
        return _jpeg_size
    if image.startswith(_GIF):
        return _gif_size
    if image.startswith(_BMP):
        return _bmp_size
    if image[:4] == b"RIFF" and image[8:12] == b"WEBP":
        return _webp_size
    return None


def _png_size(image: bytes) -> tuple[int, int]:
    return struct.unpack_from(">II", image, 16)


def _gif_size(image: bytes) -> tuple[int, int]:
    return struct.unpack_from("<HH", image, 6)


def _bmp_size(image: bytes) -> tuple[int, int]:
    return struct.unpack_from("<ii", image, 18)


def _webp_size(image: bytes) -> tuple[int, int]:
    kind = image[12:16]
    if kind == b"VP8X":
        width, height = (int.from_bytes(image[at : at + 3], "little") + 1 for at in (24, 27))
        return width, height
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", image, 21)
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    width, height = struct.unpack_from("<HH", image, 26)
    return width & 0x3FFF, height & 0x3FFF


def _jpeg_size(image: bytes) -> tuple[int, int]:
    at = len(_JPEG)
    for _ in range(_MOST_SEGMENTS):
        if image[at] != 0xFF:
            break
        marker = image[at + 1]
        if marker in _START_OF_FRAME:
            height, width = struct.unpack_from(">HH", image, at + 5)
            return width, height
        # 0xFF repeats as padding before a marker.
        at += 1 if marker == 0xFF else 2 if marker in _STANDALONE else 2 + _segment_bytes(image, at)
    raise ValueError("no frame header")


def _segment_bytes(image: bytes, at: int) -> int:
    (length,) = struct.unpack_from(">H", image, at + 2)
    return int(length)
