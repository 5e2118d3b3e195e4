"""The linear datamodelling score on cases with known answers."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr

from creditline.errors import InvalidInput
from creditline.evaluation.lds import (
    RetrainedModels,
    column_spearman,
    lds,
    lds_by_query,
    lds_difference,
    noise_ceiling,
)

_WORKS, _SUBSETS, _QUERIES = 30, 40, 12


def _world(*, noise: float, seeds: int = 2) -> tuple[np.ndarray, RetrainedModels]:
    """Queries whose loss falls by a fixed amount for each work a model saw, plus each seed's own noise."""
    random = np.random.default_rng(5)
    worth = random.gamma(0.5, size=(_QUERIES, _WORKS))
    subsets = np.array([random.permutation(_WORKS) < _WORKS // 2 for _ in range(_SUBSETS)], dtype=float)
    effect = subsets @ worth.T
    losses = 10.0 - effect[:, None] + noise * random.standard_normal((_SUBSETS, seeds, _QUERIES))
    return worth, RetrainedModels(subsets, losses)


def test_the_true_worth_scores_1_and_its_negative_minus_1() -> None:
    worth, retrained = _world(noise=0.0)
    assert lds_by_query(worth, retrained) == pytest.approx(np.ones(_QUERIES))
    assert lds_by_query(-worth, retrained) == pytest.approx(-np.ones(_QUERIES))


def test_each_query_is_scipys_rank_correlation_over_the_subsets() -> None:
    worth, retrained = _world(noise=2.0)
    scores = worth + np.random.default_rng(1).standard_normal(worth.shape)
    oracle = [
        spearmanr(retrained.subsets @ scores[query], -retrained.losses[:, :, query].mean(axis=1)).statistic
        for query in range(_QUERIES)
    ]
    assert lds_by_query(scores, retrained) == pytest.approx(oracle)


def test_a_constant_score_has_an_lds_of_0() -> None:
    _, retrained = _world(noise=1.0)
    assert lds_by_query(np.ones((_QUERIES, _WORKS)), retrained) == pytest.approx(np.zeros(_QUERIES))


def test_a_constant_column_correlates_with_nothing() -> None:
    assert column_spearman(np.ones((4, 1)), np.arange(4.0)[:, None]) == pytest.approx([0.0])


def test_the_interval_of_a_random_score_covers_0_and_that_of_the_truth_does_not() -> None:
    worth, retrained = _world(noise=1.0)
    chance = lds(np.random.default_rng(2).standard_normal(worth.shape), retrained, seed=0, resamples=200)
    truth = lds(worth, retrained, seed=0, resamples=200)
    assert chance.low < 0.0 < chance.high
    assert truth.low > 0.5


def test_the_better_method_exceeds_the_worse_and_a_method_differs_from_itself_by_0() -> None:
    worth, retrained = _world(noise=1.0)
    worse = worth + 2.0 * np.random.default_rng(3).standard_normal(worth.shape)
    better = lds_difference(worth, worse, retrained, seed=0, resamples=200)
    same = lds_difference(worth, worth, retrained, seed=0, resamples=200)
    assert better.low > 0.0
    assert (same.value, same.low, same.high) == (0.0, 0.0, 0.0)


def test_the_ceiling_is_1_without_noise_and_near_0_with_pure_noise() -> None:
    _, quiet = _world(noise=0.0)
    _, loud = _world(noise=1e6)
    assert noise_ceiling(quiet, seed=0, resamples=20).value == pytest.approx(1.0)
    assert abs(noise_ceiling(loud, seed=0, resamples=20).value) < 0.2


def test_one_seed_has_no_ceiling() -> None:
    _, retrained = _world(noise=1.0, seeds=1)
    with pytest.raises(InvalidInput, match="two seeds"):
        noise_ceiling(retrained, seed=0)


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        (np.ones((_QUERIES, _WORKS + 1)), "must have \\(queries, works\\)"),
        (np.full((_QUERIES, _WORKS), np.nan), "is NaN or infinite"),
    ],
)
def test_scores_of_another_shape_or_with_a_nan_are_refused(scores: np.ndarray, message: str) -> None:
    _, retrained = _world(noise=1.0)
    with pytest.raises(InvalidInput, match=message):
        lds_by_query(scores, retrained)


def test_losses_of_other_subsets_are_refused() -> None:
    with pytest.raises(InvalidInput, match="do not belong to 3 subsets"):
        RetrainedModels(np.ones((3, 5)), np.ones((4, 2, 6)))
