"""TRAK's kernels on works without features, and on features that are not finite."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest

from creditline.attribution.methods.trak import DualKernel, TrakDivisor, TrakKernel, trak_scores
from creditline.errors import InvalidInput

SILENT = 7


@pytest.fixture
def features() -> np.ndarray:
    """Features of 40 works and 3 queries of which one work has none."""
    rows = np.random.default_rng(3).normal(size=(43, 200)) * np.geomspace(1.0, 1e4, 200)
    rows[SILENT] = 0.0
    return rows


@pytest.mark.parametrize("divisor", get_args(TrakDivisor))
def test_a_work_without_features_has_score_0_whatever_scores_are_divided_by(
    features: np.ndarray, divisor: TrakDivisor
) -> None:
    works, queries = features[:40], features[40:]
    scores = DualKernel(works @ works.T).scores(queries @ works.T, 0.05, divisor)
    assert (scores[:, SILENT] == 0).all()
    assert (np.delete(scores, SILENT, axis=1) != 0).all()


def test_features_that_are_not_finite_are_refused_with_their_row(features: np.ndarray) -> None:
    works, queries = features[:40], features[40:].copy()
    queries[1, 5] = np.nan
    kernel = DualKernel(works @ works.T)
    with pytest.raises(InvalidInput, match="query number 1 of 3 are NaN"):
        kernel.scores(queries @ works.T, 0.5)
    with pytest.raises(InvalidInput, match="query number 1 of 3 are NaN"):
        TrakKernel(works).scores(queries, 0.5)
    with pytest.raises(InvalidInput, match="query number 1 of 3 are NaN"):
        trak_scores(queries, works, 0.5)
    with pytest.raises(InvalidInput, match="work number 1 of 3 are NaN"):
        DualKernel(queries @ queries.T)
