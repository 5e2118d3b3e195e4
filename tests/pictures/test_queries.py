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
    as_file,
    hundred_megapixels,
    noise,
    red_square,
    twenty_megabytes,
)


def _decoded(image: bytes) -> Image.Image:
    picture = Image.open(io.BytesIO(query_picture(image)))
    assert (picture.format, picture.mode) == ("PNG", "RGB")
    return picture


def test_a_query_is_kept_as_png_with_the_pixels_of_the_picture() -> None:
    assert np.array_equal(np.asarray(_decoded(as_file(red_square(), "BMP"))), np.asarray(red_square()))


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
