"""Groups: sums of expected changes, and unlearning of several works at once."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from creditline.attribution.attributor import Gallery
from creditline.attribution.fisher.ekfac import fit_ekfac
from creditline.attribution.gradients.parameters import chosen_layers
from creditline.attribution.gradients.per_sample import per_sample_gradients
from creditline.attribution.unlearning.forgetting import NaturalAscent
from creditline.attribution.unlearning.groups import group_sums, guda_scores
from creditline.errors import InvalidInput
from creditline.generator.losses import Draws, denoising_losses
from creditline.generator.pipeline import Generator
from tests.random_galleries import random_gallery

DRAWS = Draws(timesteps=3, repeats=2, salt="test")
_GROUPS = [[0, 3], [5], [1, 2, 4]]


@pytest.fixture
def works(random_generator: Generator) -> Gallery:
    return random_gallery(random_generator, "work", 8)


@pytest.fixture
def queries(random_generator: Generator) -> Gallery:
    return random_gallery(random_generator, "query", 4)


@pytest.fixture
def way(random_generator: Generator, works: Gallery) -> NaturalAscent:
    fisher = fit_ekfac(
        random_generator, works.examples, DRAWS, chosen_layers(random_generator.unet, "cross-attn")
    )
    return NaturalAscent(fisher, query_draws=DRAWS, check_draws=DRAWS)


def test_a_groups_change_is_the_sum_of_its_works() -> None:
    changes = np.arange(12.0).reshape(2, 6)
    assert group_sums(changes, [[0, 5], [2]]).tolist() == [[5.0, 2.0], [17.0, 8.0]]


def test_the_mean_loss_of_a_group_rises_as_requested(
    random_generator: Generator, works: Gallery, way: NaturalAscent
) -> None:
    group = works.examples.rows([0, 3, 6])
    before = float(denoising_losses(random_generator, group, DRAWS).mean())
    with way.forget(random_generator, group) as forgotten:
        after = float(denoising_losses(random_generator, group, DRAWS).mean())
    assert after / before == pytest.approx(1.1, abs=0.021)
    assert forgotten.passes % len(group) == 0


def test_a_group_is_forgotten_along_its_mean_gradient(
    random_generator: Generator, works: Gallery, way: NaturalAscent
) -> None:
    layers = chosen_layers(random_generator.unet, "cross-attn")
    group = works.examples.rows([1, 2])
    mean = per_sample_gradients(random_generator, group, DRAWS, layers).mean(dim=0, keepdim=True)
    direction = way.fisher.natural(mean)[0]
    before = torch.cat([module.weight.flatten() for module in layers.values()])
    with way.forget(random_generator, group):
        change = torch.cat([module.weight.flatten() for module in layers.values()]) - before
    assert float(torch.cosine_similarity(change, direction, dim=0)) == pytest.approx(1.0, abs=1e-3)


def test_guda_is_what_the_queries_lose(
    random_generator: Generator, works: Gallery, queries: Gallery, way: NaturalAscent
) -> None:
    found = guda_scores(random_generator, way, works, _GROUPS, queries, DRAWS)
    before = denoising_losses(random_generator, queries.examples, DRAWS)
    with way.forget(random_generator, works.examples.rows(_GROUPS[2])):
        after = denoising_losses(random_generator, queries.examples, DRAWS)
    expected = (after - before).double().mean(dim=1).numpy()
    np.testing.assert_allclose(found["difference"][:, 2], expected, rtol=1e-5, atol=1e-8)
    assert {name: values.shape for name, values in found.items()} == dict.fromkeys(
        ("difference", "relative", "skew"), (4, 3)
    )


def test_an_empty_group_is_refused(
    random_generator: Generator, works: Gallery, queries: Gallery, way: NaturalAscent
) -> None:
    with pytest.raises(InvalidInput, match="leave it out"):
        guda_scores(random_generator, way, works, [[0], []], queries, DRAWS)
