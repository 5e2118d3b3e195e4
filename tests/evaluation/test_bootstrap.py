from __future__ import annotations

import numpy as np
import pytest

from creditline.errors import InvalidInput
from creditline.evaluation.bootstrap import bootstrap_mean, paired_difference


def test_the_interval_of_a_mean_is_near_the_textbook_one() -> None:
    values = np.random.default_rng(0).normal(3.0, 2.0, size=400)
    estimate = bootstrap_mean(values, seed=1)
    half_width = 1.96 * values.std(ddof=1) / np.sqrt(len(values))
    assert estimate.value == pytest.approx(values.mean())
    assert estimate.high - estimate.low == pytest.approx(2 * half_width, rel=0.15)


def test_the_interval_covers_the_true_mean_about_as_often_as_it_says() -> None:
    random = np.random.default_rng(2)
    estimates = [bootstrap_mean(random.normal(size=60), seed=seed, resamples=300) for seed in range(150)]
    covered = sum(estimate.low <= 0.0 <= estimate.high for estimate in estimates)
    assert 0.88 <= covered / len(estimates) <= 0.99


def test_a_small_difference_shows_when_the_queries_are_paired() -> None:
    random = np.random.default_rng(3)
    difficulty = random.normal(size=100)
    ours, theirs = difficulty + 0.05 + random.normal(size=100) * 0.05, difficulty
    paired = paired_difference(ours, theirs, seed=0)
    assert paired.low > 0.0
    assert bootstrap_mean(ours, seed=0).low < theirs.mean() < bootstrap_mean(ours, seed=0).high


def test_the_same_seed_gives_the_same_interval_and_another_seed_another() -> None:
    values = np.arange(20.0)
    assert bootstrap_mean(values, seed=5) == bootstrap_mean(values, seed=5)
    assert bootstrap_mean(values, seed=5) != bootstrap_mean(values, seed=6)


def test_nothing_to_draw_from_is_refused() -> None:
    with pytest.raises(InvalidInput):
        bootstrap_mean([], seed=0)
    with pytest.raises(InvalidInput, match="same queries"):
        paired_difference([1.0], [1.0, 2.0], seed=0)
