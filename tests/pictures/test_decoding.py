"""The one decoder: every kind of file shows its picture, and what is no picture is refused by name."""

from __future__ import annotations

import io
import struct
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from creditline.corpus.openclipart import embedded_corpus
from creditline.corpus.works import Work
from creditline.errors import InvalidInput
from creditline.pictures.decoding import MOST_PIXELS, decode, is_small, picture_fault
from creditline.pictures.queries import query_pixels, recorded_file
from tests.pictures.kinds import Kind, kinds, saved, scene, shapes

_FIELD = "items[3].image"
_KINDS = [*kinds(), *shapes()]


def _decoded(content: bytes) -> Image.Image:
    return decode(content, field=_FIELD)


def _difference(one: Image.Image, other: Image.Image) -> float:
    return float(np.abs(np.asarray(one, dtype=float) - np.asarray(other, dtype=float)).mean())


@pytest.mark.parametrize("kind", _KINDS, ids=[kind.name for kind in _KINDS])
def test_a_file_of_every_kind_shows_its_picture(kind: Kind) -> None:
    decoded = _decoded(kind.content)
    assert (decoded.mode, decoded.size) == ("RGB", kind.shows.size)
    assert _difference(decoded, kind.shows) <= kind.tolerance
    assert picture_fault(kind.content) == ""


@pytest.mark.parametrize("kind", _KINDS, ids=[kind.name for kind in _KINDS])
def test_the_same_file_as_work_and_as_query_has_the_same_pixels_however_often_it_is_decoded(
    kind: Kind,
) -> None:
    as_work = Work("w", "", "a barn", (), "Ann", "", "", "", kind.content).picture()
    as_query = query_pixels(kind.content)
    assert as_query.rgb == as_work.tobytes()
    assert _decoded(recorded_file(as_query)).tobytes() == as_query.rgb
    assert _decoded(saved(as_work, "BMP")).tobytes() == as_work.tobytes()


def test_half_transparent_colour_is_mixed_with_white() -> None:
    half = Image.new("RGBA", (16, 16), (255, 0, 0, 128))
    assert _decoded(saved(half, "PNG")).getpixel((2, 8)) == (255, 127, 127)


@pytest.mark.parametrize("side", [128, 512])
def test_a_picture_that_is_small_enough_is_left_alone(side: int) -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8))
    assert _decoded(saved(noise, "PNG")).tobytes() == noise.tobytes()
    assert is_small(saved(noise, "PNG"))
    assert not is_small(saved(noise.resize((side, 513)), "PNG"))
    assert not is_small(b"no picture")


def test_transforms_of_profiles_may_be_used_by_several_threads() -> None:
    profiled = [kind for kind in _KINDS if "P3" in kind.name or "Adobe" in kind.name] * 20
    with ThreadPoolExecutor(4) as pool:
        pictures = list(pool.map(lambda kind: _decoded(kind.content), profiled))
    assert max(map(_difference, pictures, [kind.shows for kind in profiled])) <= 12


def _promised(width: int, height: int) -> bytes:
    """A small PNG file whose header promises many pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        checksum = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")


def _changed(content: bytes) -> bytes:
    """The file with one byte changed in its middle."""
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 0xFF]) + content[middle + 1 :]


_NOISE = Image.effect_noise((64, 64), 50).convert("RGB")


@pytest.mark.parametrize(
    ("image", "fault"),
    [
        (b"", "is empty (0 bytes)"),
        (b"not a picture", "is not in a known format (13 bytes)"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", "is not in a known format (24 bytes)"),
        (b"<svg/>", "is not in a known format (6 bytes)"),
        (b"II*\0", "is not in a known format (4 bytes)"),
        *(
            (saved(_NOISE, kind)[:-100], "cannot be decoded (")
            for kind in ("PNG", "JPEG", "WEBP", "BMP", "TIFF")
        ),
        *((saved(_NOISE, kind)[:600], "") for kind in ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")),
        (saved(_NOISE, "PNG")[:-20], "cannot be decoded (the file ends before its last chunk)"),
        (_changed(saved(_NOISE, "PNG")), "cannot be decoded (the checksum of its IDAT chunk is wrong)"),
        (_promised(10_000, 10_000), "is 10000 × 10000 pixels"),
        (_promised(18_000, 10_000), "cannot be decoded (Image size (180000000 pixels) exceeds limit"),
        (_promised(60_000, 60_000), "cannot be decoded (Image size"),
    ],
    ids=lambda value: value if isinstance(value, str) else f"{len(value)} bytes",
)
def test_what_is_no_usable_picture_is_refused_by_name(image: bytes, fault: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        _decoded(image)
    assert raised.value.field == _FIELD
    assert raised.value.message.startswith(f"{_FIELD} {fault}")
    assert picture_fault(image).startswith(fault)
    assert picture_fault(image)


def test_a_large_jpeg_is_reduced_while_it_is_decoded_and_a_progressive_one_is_refused() -> None:
    large = scene().resize((8_000, 6_000), Image.Resampling.NEAREST)
    assert large.width * large.height > MOST_PIXELS
    assert (
        _difference(_decoded(saved(large, "JPEG")), scene().resize((512, 384), Image.Resampling.NEAREST)) < 6
    )
    with pytest.raises(InvalidInput, match="is 8000 × 6000 pixels; at most 40,000,000 pixels are allowed"):
        _decoded(saved(large, "JPEG", progressive=True))


def test_the_works_of_the_reference_corpus_keep_the_pixels_that_their_vectors_were_made_from() -> None:
    for work in embedded_corpus().works[::11]:
        plain = Image.open(io.BytesIO(work.thumbnail)).convert("RGB")
        assert work.picture().tobytes() == plain.tobytes(), work.id
