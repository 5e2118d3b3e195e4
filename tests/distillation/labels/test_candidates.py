"""Candidates, their inclusion probabilities, and estimates of sums over the corpus."""

from __future__ import annotations

import numpy as np
import pytest

from creditline.distillation.labels.candidates import (
    CandidatePlan,
    add_by_student,
    draw_candidates,
    inclusion_weights,
)
from creditline.errors import InvalidInput

_PLAN = CandidatePlan(by_feature=20, by_student=10, at_random=30)


def cosines(queries: int, works: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(queries, works)).astype(np.float32)


def test_the_nearest_are_certain_and_the_rest_are_drawn_evenly() -> None:
    near = cosines(3, 200, 1)
    inclusion = draw_candidates(near, _PLAN, seeds=[1, 2, 3])
    for row, probabilities in zip(near, inclusion, strict=True):
        nearest = np.argsort(-row)[:20]
        assert (probabilities[nearest] == 1.0).all()
        drawn = np.delete(probabilities, nearest)
        assert np.unique(drawn[drawn > 0]) == pytest.approx([30 / 180])
        assert (drawn > 0).sum() == 30


def test_sums_over_the_corpus_are_estimated_without_bias() -> None:
    near, influence = cosines(1, 200, 2), np.random.default_rng(3).gamma(1.0, 1.0, 200)
    estimates = [
        float(inclusion_weights(draw_candidates(near, _PLAN, seeds=[seed]))[0] @ influence)
        for seed in range(400)
    ]
    error = np.std(estimates) / np.sqrt(len(estimates))
    assert abs(np.mean(estimates) - influence.sum()) < 4 * error


def test_the_student_adds_what_raw_features_missed() -> None:
    first = draw_candidates(cosines(2, 200, 4), _PLAN, seeds=[1, 2])
    by_student = cosines(2, 200, 5)
    more = add_by_student(first, by_student, 10)
    for row, (before, after) in enumerate(zip(first, more, strict=True)):
        new = np.flatnonzero((after == 1.0) & (before < 1.0))
        uncertain = [work for work in np.argsort(-by_student[row]) if before[work] < 1.0]
        assert sorted(new) == sorted(uncertain[:10])
        others = np.setdiff1d(np.arange(200), new)
        assert (after[others] == before[others]).all()


def test_a_query_has_the_same_candidates_alone_and_among_others() -> None:
    near = cosines(4, 100, 6)
    together = draw_candidates(near, _PLAN, seeds=[5, 6, 7, 8])
    np.testing.assert_array_equal(draw_candidates(near[2:3], _PLAN, seeds=[7])[0], together[2])


def test_more_candidates_than_works_are_refused() -> None:
    with pytest.raises(InvalidInput, match="60 candidates per query, but the corpus has 50 works"):
        draw_candidates(cosines(1, 50, 7), _PLAN, seeds=[1])
