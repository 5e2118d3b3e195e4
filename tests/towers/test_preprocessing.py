"""Preprocessing of pictures, compared with the transforms that it splits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from open_clip.transform import PreprocessCfg, image_transform_v2
from timm.data.transforms_factory import create_transform
from torchvision.transforms import Compose, Resize, ToTensor

from creditline.corpus.works import Corpus
from creditline.errors import InvalidInput
from creditline.towers.embedded import PREPROCESSING
from creditline.towers.preprocessing import Normalisation, Preprocessing

_TRANSFORMS = {
    "the embedded tower's": image_transform_v2(PreprocessCfg(**PREPROCESSING), is_train=False),
    "CLIP's": image_transform_v2(PreprocessCfg(size=64), is_train=False),
    "timm's": create_transform((3, 56, 56), is_training=False, crop_pct=0.9),
    "timm's with a border": create_transform((3, 56, 56), is_training=False, crop_mode="border"),
}


@pytest.mark.parametrize("name", _TRANSFORMS)
def test_pixels_and_normalisation_equal_the_transform_bit_for_bit(name: str, small_corpus: Corpus) -> None:
    transform: Any = _TRANSFORMS[name]
    pictures = [work.picture().convert("RGB") for work in small_corpus.works[:3]]
    preprocessing = Preprocessing.of(transform)
    pixels = preprocessing.pixels(pictures)
    assert pixels.dtype == np.uint8
    normalised = Normalisation(preprocessing.mean, preprocessing.std)(torch.from_numpy(pixels))
    assert torch.equal(normalised, torch.stack([transform(picture) for picture in pictures]))


def test_a_transform_of_another_form_is_refused() -> None:
    with pytest.raises(InvalidInput, match="not with ToTensor and Normalize"):
        Preprocessing.of(Compose([Resize(8), ToTensor()]))
