"""Layout features: colours by position, zero for a white picture."""

from __future__ import annotations

import pytest
import torch
from PIL import Image, ImageDraw

from creditline.towers.layout import LAYOUT_WIDTH, SIDE, layout_features


def with_square(colour: str, box: tuple[int, int, int, int], side: int = 128) -> Image.Image:
    picture = Image.new("RGB", (side, side), "white")
    ImageDraw.Draw(picture).rectangle(box, fill=colour)
    return picture


def areas(picture: Image.Image) -> torch.Tensor:
    """(16, 16, 3): row, column, colour."""
    return layout_features([picture]).view(SIDE, SIDE, 3)


def test_a_white_picture_has_no_layout() -> None:
    assert layout_features([Image.new("RGB", (50, 50), "white")]).abs().max() == 0.0


def test_a_square_appears_at_its_place_in_the_channels_that_it_lacks() -> None:
    found = areas(with_square("red", (0, 0, 63, 63)))
    assert found[:8, :8, 0].max() == 0.0, "red is as red as white is"
    assert torch.all(found[:8, :8, 1:] == 1.0)
    assert found[8:].abs().max() == 0.0
    assert found[:8, 8:].abs().max() == 0.0


def test_positions_and_colours_are_distinguished() -> None:
    here, there = with_square("red", (0, 0, 63, 63)), with_square("red", (64, 64, 127, 127))
    blue = with_square("blue", (0, 0, 63, 63))
    features = torch.nn.functional.normalize(layout_features([here, there, blue]))
    assert features.shape == (3, LAYOUT_WIDTH)
    cosines = features @ features.T
    assert float(cosines[0, 1]) == 0.0
    assert float(cosines[0, 2]) == pytest.approx(0.5), "both lack green"


def test_the_size_of_a_picture_hardly_matters() -> None:
    small = areas(with_square("green", (16, 32, 47, 63)))
    large = areas(with_square("green", (128, 256, 383, 511), side=1024))
    assert torch.allclose(small, large, atol=1.0 / 255.0)
