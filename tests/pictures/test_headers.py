"""Sizes by header: what is understood is right, and nothing else is guessed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from creditline.pictures.headers import declared_pixels
from tests.gateway.pictures_made_up import as_file

_PICTURE = Image.new("RGB", (300, 70), "red")
_FORMATS = [
    ("PNG", {}),
    ("GIF", {}),
    ("BMP", {}),
    ("JPEG", {}),
    ("JPEG", {"progressive": True, "comment": b"x" * 60_000}),
    ("WEBP", {}),
    ("WEBP", {"lossless": True}),
    ("WEBP", {"exif": b"Exif\x00\x00MM\x00*\x00\x00\x00\x08\x00\x00\x00\x00\x00\x00"}),
]


@pytest.mark.parametrize(("format", "options"), _FORMATS)
def test_the_size_in_a_header_is_that_of_the_picture(format: str, options: dict[str, object]) -> None:
    assert declared_pixels(as_file(_PICTURE, format, **options)) == 300 * 70


@pytest.mark.parametrize("content", [b"", b"\xff\xd8", b"\x89PNG\r\n\x1a\n", as_file(_PICTURE, "TIFF")])
def test_a_size_that_is_not_stated_is_unknown(content: bytes) -> None:
    assert declared_pixels(content) is None


@given(st.sampled_from([as_file(_PICTURE, format, **options) for format, options in _FORMATS]), st.data())
def test_a_damaged_header_is_a_number_or_unknown(content: bytes, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, min(len(content), 200)))
    damaged = content[:at] + data.draw(st.binary(max_size=4)) + content[at + 4 :]
    declared = declared_pixels(damaged[: data.draw(st.integers(0, len(damaged)))])
    assert declared is None or declared >= 0
