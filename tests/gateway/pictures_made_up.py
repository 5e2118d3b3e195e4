"""Pictures as files, made on the spot."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
from PIL import Image


def as_file(picture: Image.Image, format: str, **options: Any) -> bytes:
    """The picture encoded."""
    buffer = io.BytesIO()
    picture.save(buffer, format=format, **options)
    return buffer.getvalue()


def red_square(side: int = 64) -> Image.Image:
    """A red square in the middle of white."""
    picture = Image.new("RGB", (side, side), "white")
    picture.paste("red", (side // 4, side // 4, 3 * side // 4, 3 * side // 4))
    return picture


def noise(side: int) -> Image.Image:
    """Pixels that no format can make small."""
    return Image.fromarray(np.random.default_rng(1).integers(0, 256, (side, side, 3), dtype=np.uint8))


def hundred_megapixels() -> bytes:
    """A PNG of a few hundred bytes whose header promises 10,000 × 10,000 pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        checksum = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)

    header = struct.pack(">IIBBBBB", 10_000, 10_000, 8, 2, 0, 0, 0)
    content = zlib.compress(bytes(1000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", content) + chunk(b"IEND", b"")


def twenty_megabytes() -> bytes:
    """A real picture of more than 20 MB."""
    return as_file(noise(2600), "BMP")


def palette_with_alpha() -> bytes:
    """A palette PNG: half red, half wholly transparent (its palette says black there)."""
    picture = Image.new("P", (32, 32), 0)
    picture.putpalette([255, 0, 0, 0, 0, 0])
    picture.paste(1, (16, 0, 32, 32))
    return as_file(picture, "PNG", transparency=1)


def animated_gif() -> bytes:
    """Two frames: red, then blue."""
    frames = [Image.new("RGB", (32, 32), color) for color in ("red", "blue")]
    return as_file(frames[0], "GIF", save_all=True, append_images=frames[1:], duration=100)
