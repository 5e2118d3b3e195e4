"""Counted rank correlations are those of the repeated rows."""

from __future__ import annotations

import numpy as np
import pytest

from creditline.evaluation.lab.judging.counted import counted_spearman, mean_correlations
from creditline.evaluation.lds import RetrainedModels, column_spearman, lds, predictions


@pytest.mark.parametrize("seed", range(6))
def test_a_count_is_a_repetition_of_the_row_ties_included(seed: int) -> None:
    random = np.random.default_rng(seed)
    predicted, measured = random.normal(size=(4, 20, 3)), np.round(random.normal(size=(20, 3)), 1)
    predicted[1] = np.round(predicted[1])
    predicted[2, :, 1] = 2.0
    counts = random.integers(0, 4, size=20)
    repeated = np.repeat(np.arange(20), counts)
    expected = [column_spearman(one[repeated], measured[repeated]) for one in predicted]
    found = counted_spearman(predicted, measured, counts.astype(np.float64))
    np.testing.assert_allclose(found, expected, atol=1e-12)
    assert (found[2, 1] == 0).all()


def test_intervals_of_many_predictors_are_those_of_each_alone() -> None:
    random = np.random.default_rng(7)
    retrained = RetrainedModels((random.random((24, 9)) < 0.5).astype(float), random.normal(size=(24, 2, 5)))
    tables = random.normal(size=(2, 5, 9))
    predicted = np.stack([predictions(table, retrained) for table in tables])
    found = mean_correlations(predicted, retrained.benefit(), seed=3, resamples=50)
    for one, table in zip(found, tables, strict=True):
        expected = lds(table, retrained, seed=3, resamples=50)
        assert (one.value, one.low, one.high) == pytest.approx(
            (expected.value, expected.low, expected.high), abs=1e-12
        )
