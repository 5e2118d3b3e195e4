"""Pictures that callers send: what is handled, and what is refused with which sentence."""

from __future__ import annotations

import contextlib
import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from creditline.errors import InvalidInput
from creditline.pictures.queries import media_type, query_pixels, recorded_file
from tests.gateway.pictures_made_up import (
    as_file,
    hundred_megapixels,
    noise,
    red_square,
    twenty_megabytes,
)


@pytest.mark.parametrize("picture", [red_square(), noise(200), noise(512)])
def test_a_query_is_recorded_without_loss_in_a_small_file(picture: Image.Image) -> None:
    pixels = query_pixels(as_file(picture, "BMP"))
    recorded = recorded_file(pixels)
    with Image.open(io.BytesIO(recorded)) as opened:
        assert (opened.mode, opened.size) == ("RGB", picture.size)
        assert opened.tobytes() == pixels.rgb == picture.tobytes()
    assert media_type(recorded) == "image/webp"
    assert len(recorded) < 1.01 * len(pixels.rgb)


def test_what_older_versions_recorded_is_served_as_png() -> None:
    assert media_type(as_file(red_square(), "PNG")) == "image/png"


@pytest.mark.parametrize(
    ("image", "sentence"),
    [
        (b"", "0 bytes"),
        (b"%PDF-1.7 ...", "PNG, JPEG, WebP, GIF, BMP"),
        (as_file(noise(64), "PNG")[:3000], "may be cut short"),
        (as_file(noise(64), "JPEG")[:1500], "may be cut short"),
        (hundred_megapixels(), "10000 × 10000 pixels"),
    ],
)
def test_what_cannot_be_used_is_refused_with_a_sentence(image: bytes, sentence: str) -> None:
    with pytest.raises(InvalidInput, match=sentence) as refused:
        query_pixels(image)
    assert refused.value.field == "image"


def test_more_than_20_megabytes_are_refused_with_their_number() -> None:
    image = twenty_megabytes()
    with pytest.raises(InvalidInput, match=f"{len(image):,} bytes"):
        query_pixels(image)


_REAL_FILES = [as_file(red_square(), format) for format in ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")]


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(_REAL_FILES), st.integers(0, 10_000), st.binary(min_size=1, max_size=8), st.booleans())
def test_damage_anywhere_is_either_handled_or_refused_as_invalid_input(
    image: bytes, place: int, damage: bytes, cut: bool
) -> None:
    at = place % len(image)
    damaged = image[:at] + damage + (b"" if cut else image[at + len(damage) :])
    with contextlib.suppress(InvalidInput):
        pixels = query_pixels(damaged)
        assert max(pixels.width, pixels.height) <= 512
