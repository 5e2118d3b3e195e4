"""Pictures are decoded to their end, safely, before they count as works."""

from __future__ import annotations

import struct
import zlib

import pytest

from creditline.corpus.sources.picture_check import picture_fault
from tests.corpus.sources.examples import picture


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP"])
def test_whole_pictures_have_no_fault_and_halves_have(kind: str) -> None:
    encoded = picture(0, kind, side=64)
    assert picture_fault(encoded) == ""
    assert picture_fault(encoded[: len(encoded) // 2]) != ""


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP"])
def test_the_last_hundred_bytes_are_missed(kind: str) -> None:
    assert "cannot be decoded (" in picture_fault(picture(0, kind, side=64)[:-100])


def test_a_changed_byte_in_a_png_is_found() -> None:
    encoded = bytearray(picture(0, "PNG", side=64))
    encoded[len(encoded) // 2] ^= 0xFF
    assert "cannot be decoded (" in picture_fault(bytes(encoded))


def _chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def _png(width: int, height: int) -> bytes:
    """A small file that claims to be a large picture."""
    head = _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + _chunk(b"IDAT", zlib.compress(bytes(1000))) + _chunk(b"IEND", b"")


@pytest.mark.parametrize(("width", "height"), [(18_000, 10_000), (60_000, 60_000)])
def test_a_decompression_bomb_is_not_decoded(width: int, height: int) -> None:
    fault = picture_fault(_png(width, height))
    assert fault.startswith(f"cannot be decoded (Image size ({width * height} pixels) exceeds limit")


@pytest.mark.parametrize("encoded", [b"", b"%!PS-Adobe-3.0 EPSF-3.0\n", b"<svg/>", b"II*\0"])
def test_other_formats_are_no_pictures(encoded: bytes) -> None:
    assert picture_fault(encoded) == f"is not in a known format ({len(encoded)} bytes)"
