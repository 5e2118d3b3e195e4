"""What all other works hold, exactly and from a sample."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from creditline.calibration import Calibration
from creditline.calibration.remainder import CorpusSample

_CURVE = Calibration((0.0, 0.2, 1.0), (-0.5, 0.0, 2.0))


def _unit_rows(count: int, width: int, seed: int) -> NDArray[np.float32]:
    rows = np.random.default_rng(seed).normal(size=(count, width)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def _slow(
    ids: list[str], vectors: NDArray[np.float32], query: NDArray[np.float32], listed: set[str]
) -> float:
    total = 0.0
    for work_id, vector in zip(ids, vectors, strict=True):
        if work_id not in listed:
            total += max(float(_CURVE.expected_influence([float(vector @ query)])[0]), 0.0)
    return total


@pytest.mark.parametrize("listed", [set(), {"w3"}, {"w0", "w7", "w199"}])
def test_all_works_but_the_listed_are_summed(listed: set[str]) -> None:
    ids = [f"w{row}" for row in range(200)]
    vectors, query = _unit_rows(200, 16, 1), _unit_rows(1, 16, 2)[0]
    sample = CorpusSample.draw(ids, vectors, seed=0)
    assert sample.influence_of_others(query, _CURVE, listed) == pytest.approx(
        _slow(ids, vectors, query, listed)
    )


def test_a_sample_estimates_the_sum_without_bias() -> None:
    ids = [f"w{row}" for row in range(500)]
    vectors, query = _unit_rows(500, 16, 3), _unit_rows(1, 16, 4)[0]
    listed = {ids[row] for row in np.argsort(-(vectors @ query))[:10]}
    estimates = [
        CorpusSample.draw(ids, vectors, seed=seed, size=100).influence_of_others(query, _CURVE, listed)
        for seed in range(300)
    ]
    deviation = np.std(estimates) / np.sqrt(len(estimates))
    assert abs(np.mean(estimates) - _slow(ids, vectors, query, listed)) < 4 * deviation


def test_the_same_seed_draws_the_same_sample() -> None:
    ids, vectors = [f"w{row}" for row in range(50)], _unit_rows(50, 4, 5)
    assert (
        CorpusSample.draw(ids, vectors, seed=9, size=20).work_ids
        == CorpusSample.draw(ids, vectors, seed=9, size=20).work_ids
    )


def test_when_every_work_is_listed_nothing_remains() -> None:
    sample = CorpusSample.draw(["a", "b"], _unit_rows(2, 4, 6), seed=0)
    assert sample.influence_of_others(_unit_rows(1, 4, 7)[0], _CURVE, {"a", "b"}) == 0.0
