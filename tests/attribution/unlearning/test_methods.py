"""Unlearning as an attributor: what a query's scores depend on, and their first-order limit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from creditline.attribution.attributor import Gallery, attribute, attribute_every
from creditline.attribution.fisher.ekfac import fit_ekfac
from creditline.attribution.gradients.parameters import chosen_layers
from creditline.attribution.gradients.per_sample import per_sample_gradients
from creditline.attribution.unlearning.forgetting import BoundedDescentAscent, Forgetting, NaturalAscent
from creditline.attribution.unlearning.methods import Unlearning
from creditline.attribution.unlearning.scores import unlearning_score_by_name
from creditline.errors import FingerprintMismatch, InvalidInput, NotReady
from creditline.generator.losses import Draws, denoising_losses
from creditline.generator.pipeline import Generator
from tests.random_galleries import random_gallery

DRAWS = Draws(timesteps=4, repeats=2, salt="test")
_WORKS = 24

# Makes the way to forget from the works and the method's directory.
WayMaker = Callable[[Gallery, Path], Forgetting]


@pytest.fixture
def works(random_generator: Generator) -> Gallery:
    return random_gallery(random_generator, "work", _WORKS)


@pytest.fixture
def queries(random_generator: Generator) -> Gallery:
    return random_gallery(random_generator, "query", 3)


def natural(generator: Generator, *, rise: float = 0.1) -> WayMaker:
    def make(works: Gallery, directory: Path) -> Forgetting:
        fisher = fit_ekfac(generator, works.examples, DRAWS, chosen_layers(generator.unet, "cross-attn"))
        return NaturalAscent(fisher, rise=rise, query_draws=DRAWS, check_draws=DRAWS)

    return make


def bounded(generator: Generator) -> WayMaker:
    def make(works: Gallery, directory: Path) -> Forgetting:
        return BoundedDescentAscent(works.examples, 1e-4, null_loss=3.0, batch=4, query_batch=4)

    return make


def unlearning(generator: Generator, make: WayMaker, *, score: str = "difference") -> Unlearning:
    return Unlearning("unlearning", generator, make, score=score, draws=DRAWS)


@pytest.mark.parametrize("score", ["difference", "skew"])
@pytest.mark.parametrize("way", [natural, bounded])
def test_scores_are_those_of_the_works_losses_before_and_after(
    random_generator: Generator,
    works: Gallery,
    queries: Gallery,
    tmp_path: Path,
    way: Callable[[Generator], WayMaker],
    score: str,
) -> None:
    make = way(random_generator)
    found = attribute(unlearning(random_generator, make, score=score), works, queries, tmp_path).values
    before = denoising_losses(random_generator, works.examples, DRAWS)
    with make(works, tmp_path).forget(random_generator, queries.examples.rows([1])):
        after = denoising_losses(random_generator, works.examples, DRAWS)
    expected = unlearning_score_by_name(score)(before, after, DRAWS)
    np.testing.assert_array_equal(found[1], expected)
    assert np.ptp(found[1]) > 0


@pytest.mark.parametrize("way", [natural, bounded])
def test_a_querys_scores_are_the_same_alone_and_among_others(
    random_generator: Generator,
    works: Gallery,
    queries: Gallery,
    tmp_path: Path,
    way: Callable[[Generator], WayMaker],
) -> None:
    attributor = unlearning(random_generator, way(random_generator))
    together = attribute(attributor, works, queries, tmp_path).values
    for row in (2, 0):
        np.testing.assert_array_equal(attributor.scores(queries.rows([row]))[0], together[row])


def test_after_a_small_rise_scores_are_products_of_gradients_in_the_fishers_metric(
    random_generator: Generator, works: Gallery, queries: Gallery, tmp_path: Path
) -> None:
    layers = chosen_layers(random_generator.unet, "cross-attn")
    fisher = fit_ekfac(random_generator, works.examples, DRAWS, layers)
    of_works, of_queries = (
        per_sample_gradients(random_generator, gallery.examples, DRAWS, layers)
        for gallery in (works, queries)
    )
    first_order = (fisher.natural(of_queries) @ of_works.T).numpy()
    attributor = unlearning(random_generator, natural(random_generator, rise=0.01))
    scores = attribute(attributor, works, queries, tmp_path).values
    for found, expected in zip(scores, first_order, strict=True):
        assert spearmanr(found, expected).statistic > 0.9
        assert np.corrcoef(found, expected)[0, 1] > 0.95


def test_the_query_itself_among_the_works_is_forgotten_most(
    random_generator: Generator, works: Gallery, tmp_path: Path
) -> None:
    scores = attribute(
        unlearning(random_generator, natural(random_generator)), works, works.rows([5, 17]), tmp_path
    ).values
    assert scores.argmax(axis=1).tolist() == [5, 17]


@pytest.mark.parametrize("way", [natural, bounded])
def test_the_generator_is_afterwards_as_it_was(
    random_generator: Generator,
    works: Gallery,
    queries: Gallery,
    tmp_path: Path,
    way: Callable[[Generator], WayMaker],
) -> None:
    before = {name: value.clone() for name, value in random_generator.unet.state_dict().items()}
    attribute(unlearning(random_generator, way(random_generator)), works, queries, tmp_path)
    after = random_generator.unet.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())


def test_a_query_costs_its_unlearning_and_an_evaluation_of_every_work(
    random_generator: Generator, works: Gallery, queries: Gallery, tmp_path: Path
) -> None:
    make = natural(random_generator)
    query = queries.rows([0])
    cost = attribute(unlearning(random_generator, make), works, query, tmp_path).cost
    with make(works, tmp_path).forget(random_generator, query.examples) as forgotten:
        pass
    assert cost.passes_per_query == forgotten.passes + _WORKS * len(DRAWS)
    assert cost.bytes_per_work == 4 * len(DRAWS)


def test_losses_before_are_kept_between_runs_and_refused_for_other_works(
    random_generator: Generator, works: Gallery, queries: Gallery, tmp_path: Path
) -> None:
    make = natural(random_generator)
    first = attribute(unlearning(random_generator, make), works, queries, tmp_path).values
    stored = (tmp_path / "losses-before.npy").read_bytes()
    second = attribute(unlearning(random_generator, make), works, queries, tmp_path).values
    np.testing.assert_array_equal(second, first)
    assert (tmp_path / "losses-before.npy").read_bytes() == stored
    with pytest.raises(FingerprintMismatch, match=r"losses-before\.json was made with corpus") as refused:
        unlearning(random_generator, make).prepare(works.rows(range(_WORKS)), tmp_path)
    assert refused.value.field == "corpus"


def test_scores_before_the_works_are_known_are_refused(random_generator: Generator, queries: Gallery) -> None:
    with pytest.raises(NotReady, match="unlearning is not prepared; call prepare"):
        unlearning(random_generator, natural(random_generator)).scores(queries)


def test_an_unknown_score_is_refused_at_once(random_generator: Generator) -> None:
    with pytest.raises(InvalidInput, match="unknown score 'ratio'; choose one of"):
        unlearning(random_generator, natural(random_generator), score="ratio")


def test_one_forgetting_gives_every_score(
    random_generator: Generator, works: Gallery, queries: Gallery, tmp_path: Path
) -> None:
    make = natural(random_generator)
    every = attribute_every(unlearning(random_generator, make), works, queries, tmp_path)
    assert set(every) == {"unlearning", "unlearning-relative", "unlearning-skew"}
    for score, name in [("relative", "unlearning-relative"), ("skew", "unlearning-skew")]:
        alone = attribute(unlearning(random_generator, make, score=score), works, queries, tmp_path)
        np.testing.assert_array_equal(every[name].values, alone.values)
        assert every[name].cost.passes_per_query == alone.cost.passes_per_query


def test_scores_inside_a_mask_are_those_of_all_works_and_cost_less(
    random_generator: Generator, works: Gallery, queries: Gallery, tmp_path: Path
) -> None:
    method = unlearning(random_generator, natural(random_generator))
    method.prepare(works, tmp_path)
    everything = method.scores(queries)
    cost = method.passes_per_query
    mask = np.random.default_rng(1).random(everything.shape) < 0.3
    mask[1] = False
    np.testing.assert_allclose(method.scores_among(queries, mask), np.where(mask, everything, 0.0), atol=1e-7)
    assert method.passes_per_query < 0.5 * cost
