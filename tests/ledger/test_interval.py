"""The interval of a release's mean recall."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from creditline.ledger.interval import mean_interval


@given(st.floats(0, 1), st.integers(1, 10_000))
def test_the_interval_holds_the_mean_and_stays_between_0_and_1(mean: float, count: int) -> None:
    low, high = mean_interval(mean, count)
    assert 0.0 <= low <= mean + 1e-12
    assert mean - 1e-12 <= high <= 1.0


def test_one_perfect_audit_proves_little() -> None:
    low, high = mean_interval(1.0, 1)
    assert low < 0.3
    assert high == 1.0


def test_it_covers_the_truth_in_at_least_95_of_100_samples_of_recalls() -> None:
    draws = np.random.default_rng(5).beta(4, 2, size=(2000, 12))
    covered = [low <= 4 / 6 <= high for low, high in (mean_interval(row.mean(), 12) for row in draws)]
    assert np.mean(covered) >= 0.95
