"""Ensembles: the mean over loaded models, and the restored generator afterwards."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from creditline.attribution.attributor import Attributor, Gallery, attribute
from creditline.attribution.ensembles.models import Ensemble, Member, loaded_weights
from creditline.attribution.methods.gradient_methods import GradientDot
from creditline.attribution.methods.gradient_rows import GradientRows, GradientSpace
from creditline.errors import NotReady
from creditline.generator.losses import Draws
from creditline.generator.pipeline import Generator
from tests.random_galleries import random_gallery

SPACE = GradientSpace("cross-attn", draws=Draws(timesteps=2, repeats=1, salt="test"))


@pytest.fixture
def works(random_generator: Generator) -> Gallery:
    return random_gallery(random_generator, "work", 5)


@pytest.fixture
def queries(random_generator: Generator) -> Gallery:
    return random_gallery(random_generator, "query", 2)


@pytest.fixture
def other(random_generator: Generator, tmp_path: Path) -> Path:
    """Weights that differ slightly from the generator's own."""
    draw = torch.Generator().manual_seed(1)
    moved = {
        name: value + 0.05 * value.std() * torch.randn(value.shape, generator=draw)
        for name, value in random_generator.unet.state_dict().items()
        if value.numel() > 1
    }
    save_file({**random_generator.unet.state_dict(), **moved}, tmp_path / "other.safetensors")
    return tmp_path / "other.safetensors"


def dot(generator: Generator) -> Attributor:
    return GradientDot("dot", GradientRows(generator, SPACE))


def test_scores_are_the_weighted_mean_of_the_members(
    random_generator: Generator, works: Gallery, queries: Gallery, other: Path, tmp_path: Path
) -> None:
    own = attribute(dot(random_generator), works, queries, tmp_path / "own").values
    with loaded_weights(random_generator, other):
        theirs = attribute(dot(random_generator), works, queries, tmp_path / "theirs").values
    members = {"own": Member(None), "other": Member(other, 3.0)}
    ensemble = Ensemble("ensemble", random_generator, members, lambda: dot(random_generator))
    found = attribute(ensemble, works, queries, tmp_path / "both")
    np.testing.assert_allclose(found.values, (own + 3.0 * theirs) / 4.0, rtol=1e-5)
    assert np.abs(own - theirs).max() > 1e-3 * np.abs(own).max()
    assert found.cost.passes_per_query == 2 * 3 * len(SPACE.draws)


def test_the_generator_is_as_before_even_when_something_fails(
    random_generator: Generator, other: Path
) -> None:
    weights = {name: value.clone() for name, value in random_generator.unet.state_dict().items()}
    fingerprint = random_generator.fingerprint
    with suppress(ZeroDivisionError), loaded_weights(random_generator, other):
        assert random_generator.fingerprint != fingerprint
        _ = 1 / 0
    assert random_generator.fingerprint == fingerprint
    for name, value in random_generator.unet.state_dict().items():
        assert torch.equal(value, weights[name])


def test_missing_weights_are_named(random_generator: Generator, tmp_path: Path) -> None:
    with (
        pytest.raises(NotReady, match=r"none\.safetensors"),
        loaded_weights(random_generator, tmp_path / "none.safetensors"),
    ):
        pass
