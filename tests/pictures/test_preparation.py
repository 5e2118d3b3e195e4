"""Pictures of works: composited on white, cropped to their content."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from creditline.pictures.preparation import crop_to_content, encode_thumbnail, open_on_white, pixels


def _with_rectangle(size: tuple[int, int], box: tuple[int, int, int, int]) -> Image.Image:
    picture = Image.new("RGB", size, "white")
    picture.paste((200, 30, 30), box)
    return picture


@pytest.mark.parametrize("box", [(10, 20, 60, 40), (0, 0, 5, 90), (180, 90, 200, 100)])
def test_a_picture_is_cropped_to_a_square_around_its_content(box: tuple[int, int, int, int]) -> None:
    square = crop_to_content(_with_rectangle((200, 100), box))
    assert square is not None
    width, height = box[2] - box[0], box[3] - box[1]
    longest = max(width, height)
    assert square.width == square.height
    assert longest < square.width <= longest * 1.12 + 2
    coloured = np.argwhere((np.asarray(square) != 255).any(axis=2))
    top, left = coloured.min(axis=0)
    bottom, right = coloured.max(axis=0) + 1
    assert (right - left, bottom - top) == (width, height), "nothing of it is cut off"
    assert abs(left - (square.width - right)) <= 1, "centred from left to right"
    assert abs(top - (square.height - bottom)) <= 1, "centred from top to bottom"


def test_faint_noise_is_not_content() -> None:
    picture = _with_rectangle((100, 100), (40, 40, 60, 60))
    picture.putpixel((2, 2), (250, 250, 250))
    square = crop_to_content(picture)
    assert square is not None
    assert square.width <= 24


def test_a_blank_picture_has_no_content() -> None:
    assert crop_to_content(Image.new("RGB", (30, 20), "white")) is None


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "L", "RGB", "CMYK"])
def test_pictures_of_any_mode_come_on_white(tmp_path: Path, mode: str) -> None:
    transparent = Image.new("RGBA", (40, 40), (0, 0, 0, 0))
    transparent.paste((0, 0, 0, 255), (10, 10, 30, 30))
    on_white = Image.new("RGBA", (40, 40), "white")
    on_white.alpha_composite(transparent)
    source = transparent if mode in ("RGBA", "LA") else on_white
    path = tmp_path / ("picture.tif" if mode == "CMYK" else "picture.png")
    source.convert("RGB" if mode == "CMYK" else mode).convert(mode).save(path)
    opened = open_on_white(path)
    assert opened.mode == "RGB"
    assert min(opened.getpixel((2, 2))) > 250
    assert max(opened.getpixel((20, 20))) < 5


def test_a_huge_picture_is_reduced_and_pillows_limit_is_put_back(tmp_path: Path) -> None:
    limit = Image.MAX_IMAGE_PIXELS
    Image.new("L", (9000, 3000), 0).save(tmp_path / "huge.png")
    opened = open_on_white(tmp_path / "huge.png")
    assert max(opened.size) <= 1024
    assert opened.size[0] == pytest.approx(3 * opened.size[1], abs=3)
    assert limit == Image.MAX_IMAGE_PIXELS


def test_a_thumbnail_keeps_the_picture(tmp_path: Path) -> None:
    square = _with_rectangle((96, 96), (20, 20, 76, 76))
    import io

    decoded = Image.open(io.BytesIO(encode_thumbnail(square, side=48, quality=82)))
    assert decoded.size == (48, 48)
    difference = np.abs(pixels(decoded, side=48) - pixels(square, side=48))
    assert difference.mean() < 0.02


def test_pixels_are_red_green_and_blue_from_0_to_1() -> None:
    picture = Image.new("RGB", (2, 2), (255, 0, 51))
    np.testing.assert_allclose(pixels(picture, side=2)[0, 0], [1.0, 0.0, 0.2], atol=1e-6)
    assert pixels(picture, side=8).shape == (8, 8, 3)
