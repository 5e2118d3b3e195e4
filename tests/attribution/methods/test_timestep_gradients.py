"""DMin and Diffusion-ReTrac against their formulas, at the full dimension of the gradient."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from creditline.attribution.attributor import Gallery, attribute
from creditline.attribution.gradients.parameters import chosen_layers
from creditline.attribution.gradients.per_sample import parameter_count, per_sample_gradients
from creditline.attribution.methods.timestep_gradients import Normalised, TimestepGradients
from creditline.errors import NotReady
from creditline.generator.losses import Draws
from creditline.generator.pipeline import Generator
from tests.random_galleries import random_gallery

DRAWS = Draws(timesteps=3, repeats=2, salt="test")


@pytest.fixture
def works(random_generator: Generator) -> Gallery:
    return random_gallery(random_generator, "work", 6)


@pytest.fixture
def queries(random_generator: Generator) -> Gallery:
    return random_gallery(random_generator, "query", 2)


def method(generator: Generator, normalised: Normalised, size: int) -> TimestepGradients:
    return TimestepGradients("method", generator, normalised, parameters="cross-attn", draws=DRAWS, size=size)


@pytest.mark.parametrize("normalised", ["both", "work"])
def test_without_compression_it_is_the_formula(
    random_generator: Generator,
    works: Gallery,
    queries: Gallery,
    tmp_path: Path,
    normalised: Normalised,
) -> None:
    layers = chosen_layers(random_generator.unet, "cross-attn")
    left, right = (
        per_sample_gradients(random_generator, gallery.examples, DRAWS, layers, by_timestep=True).double()
        for gallery in (queries, works)
    )
    unit = right / right.norm(dim=2, keepdim=True)
    expected = np.zeros((2, 6))
    for query in range(2):
        for work in range(6):
            for timestep in range(3):
                ours = left[query, timestep] / left[query, timestep].norm()
                if normalised == "work":
                    ours = left[query].mean(dim=0)
                expected[query, work] += float(ours @ unit[work, timestep])
    whole = method(random_generator, normalised, parameter_count(layers))
    found = attribute(whole, works, queries, tmp_path).values
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())


def test_compressed_scores_are_near_the_whole_ones(
    random_generator: Generator, queries: Gallery, tmp_path: Path
) -> None:
    works = random_gallery(random_generator, "work", 40)
    width = parameter_count(chosen_layers(random_generator.unet, "cross-attn"))
    whole, small = (
        attribute(method(random_generator, "both", size), works, queries, tmp_path / str(size)).values
        for size in (width, width // 4)
    )
    assert np.corrcoef(whole.ravel(), small.ravel())[0, 1] > 0.8


def test_it_must_be_prepared(random_generator: Generator, queries: Gallery) -> None:
    with pytest.raises(NotReady, match="call prepare"):
        method(random_generator, "both", 64).scores(queries)
