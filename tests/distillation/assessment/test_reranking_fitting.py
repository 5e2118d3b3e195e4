"""Calibration of re-ranked answers: its order, its sums, and what it adds, on made-up queries."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from creditline.calibration.holders import whole
from creditline.calibration.reranking import Reranking
from creditline.distillation.assessment.reranking_fitting import (
    RankedQueries,
    crossed_gain,
    fit_reranking,
    reranked_scores,
)
from creditline.errors import InvalidInput

QUERIES, WORKS, CANDIDATES = 60, 120, 40
HOLDERS = [whole(f"person {row % 17}") for row in range(WORKS)]


def made_up(kernel_noise: float = 0.3, seed: int = 0) -> RankedQueries:
    """Influence is what the kernel measures but for noise; cosines find the influential works roughly."""
    rng = np.random.default_rng(seed)
    truth = np.maximum(rng.gumbel(size=(QUERIES, WORKS)) - 1.5, 0.0)
    cosines = 0.1 * truth + 0.1 * rng.normal(size=truth.shape)
    kernel = truth + kernel_noise * rng.normal(size=truth.shape)
    relative = truth / truth.sum(axis=1, keepdims=True)
    return RankedQueries(*(each.astype(np.float32) for each in (cosines, kernel, relative)))


def test_a_kernel_that_measures_influence_improves_the_order() -> None:
    gain = crossed_gain(made_up(), candidates=CANDIDATES, seed=0)

    assert gain.reranked.mean() > gain.fast.mean() + 0.1


def test_of_a_kernel_that_is_noise_the_cosine_has_most_weight() -> None:
    queries = made_up()
    noise = np.random.default_rng(1).normal(size=queries.kernel.shape).astype(np.float32)

    useful, useless = (
        fit_reranking(each, HOLDERS, candidates=CANDIDATES, seed=0).cosine_weight
        for each in (queries, replace(queries, kernel=noise))
    )

    assert useful < 10.0
    assert useless == 50.0


def test_candidates_come_before_all_other_works_and_these_by_cosine() -> None:
    queries = made_up()

    scores = reranked_scores(queries, candidates=CANDIDATES, cosine_weight=0.0)

    for row, found in enumerate(queries.candidates(CANDIDATES)):
        order = np.argsort(-scores[row])
        assert set(order[:CANDIDATES]) == set(found)
        assert (np.diff(queries.kernel[row][order[:CANDIDATES]]) <= 0).all()
        assert (np.diff(queries.cosines[row][order[CANDIDATES:]]) <= 0).all()


def test_expected_influence_is_right_in_sum_on_other_queries_and_nine_of_ten_lie_in_their_interval() -> None:
    fitted, other = fit_reranking(made_up(), HOLDERS, candidates=CANDIDATES, seed=0), made_up(seed=1)
    found = other.candidates(CANDIDATES)
    kernel, cosines, parts = (
        np.take_along_axis(each, found, axis=1) for each in (other.kernel, other.cosines, other.relative)
    )

    order = fitted.order_of(kernel, cosines)
    low, high = fitted.intervals.works.of(order)

    expected = fitted.calibration.expected_influence(order)
    assert expected.sum() == pytest.approx(parts.sum(), rel=0.1)
    assert ((low <= parts) & (parts <= high)).mean() >= 0.85
    assert fitted.intervals.coverage == 0.9


def test_a_calibration_is_the_same_after_it_was_written_and_read() -> None:
    fitted = replace(fit_reranking(made_up(), HOLDERS, candidates=CANDIDATES, seed=0), rows="r", encoder="e")

    assert Reranking.from_json(fitted.to_json()) == fitted
    assert fitted.candidates == CANDIDATES
    with pytest.raises(InvalidInput, match="not a calibration of re-ranked answers"):
        Reranking.from_json(fitted.to_json().replace("cosine_weight", "weight"))


def test_too_few_queries_or_arrays_that_differ_in_shape_are_refused() -> None:
    queries = made_up()
    with pytest.raises(InvalidInput, match="held-out queries; got 1"):
        queries.some(np.array([0], dtype=np.intp))
    with pytest.raises(InvalidInput, match="have shapes"):
        replace(queries, kernel=queries.kernel[:, 1:])
