"""Pictures as people send them: handled, or refused with a sentence that names the field."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import pytest
from PIL import Image

from creditline.errors import InvalidInput
from creditline.pictures.decoding import decode

FIELD = "items[3].image"


def encoded(picture: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format=kind, **options)
    return buffer.getvalue()


def huge_png(side: int) -> bytes:
    """A PNG whose header claims `side` × `side` pixels."""
    header = b"IHDR" + struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    return encoded(Image.new("RGB", (1, 1)))[:8] + chunk + encoded(Image.new("RGB", (1, 1)))[33:]


def half_transparent() -> Image.Image:
    picture = Image.new("RGBA", (4, 4), (255, 0, 0, 255))
    picture.paste((0, 0, 0, 0), (0, 0, 2, 4))
    return picture


@pytest.mark.parametrize(
    ("image", "said"),
    [
        (b"", "0 bytes"),
        (b"not a picture", "not a picture"),
        (encoded(Image.effect_noise((64, 64), 50))[:400], "damaged"),
        (huge_png(10_000), "10000 × 10000 pixels"),
        (huge_png(60_000), "items"),
    ],
)
def test_what_is_no_usable_picture_is_refused_by_name(image: bytes, said: str) -> None:
    with pytest.raises(InvalidInput, match=said) as raised:
        decode(image, field=FIELD)
    assert raised.value.field == FIELD
    assert FIELD in raised.value.message


def test_transparency_becomes_white_also_in_a_palette() -> None:
    for image in (encoded(half_transparent()), encoded(half_transparent().quantize(4), transparency=0)):
        decoded = decode(image, field=FIELD)
        assert decoded.mode == "RGB"
        assert (255, 255, 255) in {decoded.getpixel((0, 0)), decoded.getpixel((3, 3))}


def test_cmyk_keeps_its_colour() -> None:
    red = Image.new("RGB", (8, 8), (250, 10, 10)).convert("CMYK")
    pixel = decode(encoded(red, "JPEG", quality=95), field=FIELD).getpixel((4, 4))
    assert pixel[0] > 200
    assert max(pixel[1:]) < 60


def test_of_an_animation_the_first_frame_is_taken() -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in ((0, 200, 0), (0, 0, 200))]
    animation = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert decode(animation, field=FIELD).getpixel((1, 1)) == (0, 200, 0)


def test_a_large_picture_is_made_small_and_a_small_one_is_left_alone() -> None:
    assert decode(encoded(Image.new("RGB", (2000, 1000))), field=FIELD).size == (512, 256)
    noise = Image.effect_noise((64, 64), 50).convert("RGB")
    assert decode(encoded(noise), field=FIELD).tobytes() == noise.tobytes()
