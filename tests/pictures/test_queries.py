"""Pictures that callers send: what is handled, and what is refused with which sentence."""

from __future__ import annotations

import contextlib
import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from creditline.errors import InvalidInput
from creditline.pictures.queries import query_picture
from tests.gateway.pictures_made_up import (
    animated_gif,
    as_file,
    hundred_megapixels,
    noise,
    palette_with_alpha,
    red_square,
    twenty_megabytes,
)

_RED, _WHITE = (255, 0, 0), (255, 255, 255)


def _decoded(image: bytes) -> Image.Image:
    picture = Image.open(io.BytesIO(query_picture(image)))
    assert (picture.format, picture.mode) == ("PNG", "RGB")
    return picture


@pytest.mark.parametrize("format", ["PNG", "BMP", "TIFF", "GIF"])
def test_lossless_formats_keep_their_pixels(format: str) -> None:
    assert np.array_equal(np.asarray(_decoded(as_file(red_square(), format))), np.asarray(red_square()))


@pytest.mark.parametrize("format", ["JPEG", "WEBP"])
def test_lossy_formats_keep_the_picture(format: str) -> None:
    difference = np.asarray(_decoded(as_file(red_square(), format, quality=95)), float) - red_square()
    assert np.abs(difference).mean() < 4


def test_cmyk_becomes_rgb() -> None:
    cmyk = as_file(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "JPEG", quality=95)
    red, green, blue = _decoded(cmyk).getpixel((8, 8))
    assert red > 220
    assert green < 60
    assert blue < 60


def test_what_a_palette_makes_transparent_is_white() -> None:
    picture = _decoded(palette_with_alpha())
    assert picture.getpixel((4, 16)) == _RED
    assert picture.getpixel((28, 16)) == _WHITE


def test_an_alpha_channel_is_composited_on_white() -> None:
    picture = Image.new("RGBA", (16, 16), (255, 0, 0, 0))
    picture.paste((255, 0, 0, 128), (0, 0, 8, 16))
    decoded = _decoded(as_file(picture, "PNG"))
    assert decoded.getpixel((2, 8)) == (255, 127, 127)
    assert decoded.getpixel((14, 8)) == _WHITE


def test_of_an_animation_the_first_frame_counts() -> None:
    assert _decoded(animated_gif()).getpixel((16, 16)) == _RED


def test_sixteen_bits_of_grey_become_eight() -> None:
    grey = Image.fromarray(np.full((16, 16), 128 * 257, dtype=np.uint16))
    assert _decoded(as_file(grey, "PNG")).getpixel((8, 8)) == (128, 128, 128)


def test_a_picture_on_its_side_is_set_upright() -> None:
    picture = Image.new("RGB", (40, 20), "white")
    exif = Image.Exif()
    exif[0x0112] = 6
    assert _decoded(as_file(picture, "JPEG", exif=exif)).size == (20, 40)


@pytest.mark.parametrize(
    ("size", "expected"), [((2000, 1000), (512, 256)), ((1, 3000), (1, 512)), ((9, 9), (9, 9))]
)
def test_large_pictures_are_scaled_down_and_small_ones_left(
    size: tuple[int, int], expected: tuple[int, int]
) -> None:
    assert _decoded(as_file(Image.new("RGB", size), "PNG")).size == expected


@pytest.mark.parametrize(
    ("image", "sentence"),
    [
        (b"", "0 bytes"),
        (b"What is not a picture at all", "is not a picture"),
        (b"%PDF-1.7 ...", "PNG, JPEG, WebP, GIF, BMP or TIFF"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "is not a picture"),
        (as_file(noise(64), "PNG")[:3000], "may be cut short"),
        (as_file(noise(64), "JPEG")[:1500], "may be cut short"),
        (hundred_megapixels(), "10000 × 10000 pixels"),
    ],
)
def test_what_cannot_be_used_is_refused_with_a_sentence(image: bytes, sentence: str) -> None:
    with pytest.raises(InvalidInput, match=sentence) as refused:
        query_picture(image)
    assert refused.value.field == "image"


def test_more_than_20_megabytes_are_refused_with_their_number() -> None:
    image = twenty_megabytes()
    with pytest.raises(InvalidInput, match=f"{len(image):,} bytes"):
        query_picture(image)


_REAL_FILES = [as_file(red_square(), format) for format in ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")]


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(_REAL_FILES), st.integers(0, 10_000), st.binary(min_size=1, max_size=8), st.booleans())
def test_damage_anywhere_is_either_handled_or_refused_as_invalid_input(
    image: bytes, place: int, damage: bytes, cut: bool
) -> None:
    at = place % len(image)
    damaged = image[:at] + damage + (b"" if cut else image[at + len(damage) :])
    with contextlib.suppress(InvalidInput):
        assert max(_decoded(damaged).size) <= 512
