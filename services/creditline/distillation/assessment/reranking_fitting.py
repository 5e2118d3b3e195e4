"""Fitting of what a release knows of re-ranked answers, on held-out queries."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from creditline.calibration.holders import Division, Holders
from creditline.calibration.intervals import AnswerIntervals
from creditline.calibration.reranking import CANDIDATES, Reranking
from creditline.distillation.assessment.calibration_fitting import fit_calibration
from creditline.distillation.assessment.folds import two_folds
from creditline.distillation.assessment.interval_fitting import fit_deviation_interval, fit_intervals
from creditline.distillation.assessment.softmax_fitting import fit_shares
from creditline.distillation.assessment.uncertainty import Sums, sums_in_order
from creditline.errors import InvalidInput
from creditline.evaluation.agreement import ndcg_at_k

# Weights of the cosine, whose range is a tenth of the kernel's scores, from none to almost nothing else.
_COSINE_WEIGHTS = (0.0, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0)
_DEPTH = 100
_LEAST_QUERIES = 2


@dataclass(frozen=True, eq=False)
class RankedQueries:
    """Held-out queries with the scores of all works."""

    cosines: NDArray[np.float32]
    """(H, N) float32, of the encoder."""
    kernel: NDArray[np.float32]
    """(H, N) float32, scores of the gradient kernel."""
    relative: NDArray[np.float32]
    """(H, N) float32, each work's part of its query's positive influence."""

    def __post_init__(self) -> None:
        if not self.cosines.shape == self.kernel.shape == self.relative.shape:
            raise InvalidInput(
                f"cosines, kernel's scores and influences have shapes {self.cosines.shape},"
                f" {self.kernel.shape} and {self.relative.shape}; give one of each for a query and a work",
                field="influence",
            )
        if len(self.cosines) < _LEAST_QUERIES:
            raise InvalidInput(
                f"re-ranked answers are calibrated on at least {_LEAST_QUERIES} held-out queries; got"
                f" {len(self.cosines)}: label more of them",
                field="labels",
            )

    def candidates(self, count: int) -> NDArray[np.intp]:
        """Works of the largest cosines, in this order: (H, C)."""
        return np.argsort(-self.cosines, axis=1, kind="stable")[:, :count]

    def some(self, rows: NDArray[np.intp]) -> RankedQueries:
        """Some of the queries."""
        return RankedQueries(self.cosines[rows], self.kernel[rows], self.relative[rows])


def fit_reranking(
    queries: RankedQueries, holders: Sequence[Holders], *, candidates: int = CANDIDATES, seed: int
) -> Reranking:
    """Fit the weight of the cosine, the calibration and its intervals.

    Args:
        queries: Held-out queries.
        holders: The people among whom each work's credit is divided.
        candidates: Number of works that are re-ranked.
        seed: Seed of the split into halves.

    Raises:
        InvalidInput: There are fewer than four queries, or their arrays differ in shape.
    """
    found = queries.candidates(candidates)
    weight = _best_weight(queries, found)
    order = _orders(queries, found, weight)
    parts = np.take_along_axis(queries.relative, found, axis=1)
    sums = list(_crossed_sums(queries, found, order, Division.of(holders), seed))
    intervals = AnswerIntervals(
        fit_intervals(order, parts, seed=seed),
        fit_deviation_interval([each.remainder for each in sums], [each.true_remainder for each in sums]),
        fit_deviation_interval(
            [each.contributors for each in sums], [each.true_contributors for each in sums]
        ),
    )
    return Reranking(fit_calibration(order, parts), intervals, weight, found.shape[1])


def _orders(queries: RankedQueries, found: NDArray[np.intp], weight: float) -> NDArray[np.float32]:
    """By what the candidates of each query are ordered: (H, C) float32."""
    kernel, cosines = (np.take_along_axis(each, found, axis=1) for each in (queries.kernel, queries.cosines))
    ordered: NDArray[np.float32] = kernel + np.float32(weight) * cosines
    return ordered


def reranked_scores(queries: RankedQueries, *, candidates: int, cosine_weight: float) -> NDArray[np.float32]:
    """Scores that order all works as re-ranked answers do: candidates first, then the others by cosine.

    Returns:
        (H, N) float32.
    """
    found = queries.candidates(candidates)
    order = _orders(queries, found, cosine_weight)
    above = 2.0 - order.min(axis=1, keepdims=True)
    scores = queries.cosines.copy()
    np.put_along_axis(scores, found, order + above, axis=1)
    return scores


@dataclass(frozen=True, eq=False)
class Gain:
    """Agreement with the teacher, nDCG@100, of each held-out query."""

    fast: NDArray[np.float64]
    """(H,), of answers ordered by the cosine alone."""
    reranked: NDArray[np.float64]
    """(H,), of re-ranked answers, with the weight of the cosine chosen on the other half of the queries."""

    def sentence(self) -> str:
        """The means of both, in one sentence."""
        return (
            f"agreement with the teacher on held-out queries (nDCG@100): {self.reranked.mean():.3f}"
            f" re-ranked, {self.fast.mean():.3f} fast"
        )


def crossed_gain(queries: RankedQueries, *, candidates: int = CANDIDATES, seed: int) -> Gain:
    """What re-ranking adds, judged on queries on which nothing was chosen.

    Args:
        queries: Held-out queries.
        candidates: Number of works that are re-ranked.
        seed: Seed of the split into halves.
    """
    reranked = np.zeros(len(queries.cosines))
    for choosing, judging in two_folds(len(queries.cosines), seed):
        chosen, judged = queries.some(choosing), queries.some(judging)
        weight = _best_weight(chosen, chosen.candidates(candidates))
        scores = reranked_scores(judged, candidates=candidates, cosine_weight=weight)
        reranked[judging] = _agreement(scores, judged.relative)
    return Gain(_agreement(queries.cosines, queries.relative), reranked)


def _agreement(scores: NDArray[np.float32], relative: NDArray[np.float32]) -> NDArray[np.float64]:
    """nDCG@100 of each query: (H,)."""
    return np.array([ndcg_at_k(row, truth, _DEPTH) for row, truth in zip(scores, relative, strict=True)])


def _best_weight(queries: RankedQueries, found: NDArray[np.intp]) -> float:
    """The weight by which re-ranked answers agree best with the teacher, by nDCG@100."""

    def agreement(weight: float) -> float:
        scores = reranked_scores(queries, candidates=found.shape[1], cosine_weight=weight)
        return float(_agreement(scores, queries.relative).mean())

    return max(_COSINE_WEIGHTS, key=agreement)


def _crossed_sums(
    queries: RankedQueries,
    found: NDArray[np.intp],
    order: NDArray[np.float32],
    division: Division,
    seed: int,
) -> Iterator[Sums]:
    """Sums of every query, by calibrations that were fitted on the other half of the queries."""
    parts = np.take_along_axis(queries.relative, found, axis=1)
    for fitting, checking in two_folds(len(found), seed):
        by_cosine = fit_shares(queries.cosines[fitting], queries.relative[fitting])
        by_kernel = fit_calibration(order[fitting], parts[fitting])
        for row in checking:
            cosines, candidates = queries.cosines[row], found[row]
            expected, unlisted = (values[0] for values in by_cosine.of_queries(cosines[None]))
            listed, unlisted = np.maximum(expected, 0.0), unlisted.copy()
            listed[candidates] = np.maximum(by_kernel.expected_influence(order[row]), 0.0)
            unlisted[candidates] = by_kernel.expected_positive(order[row])
            ranked = candidates[np.argsort(-order[row], kind="stable")]
            others = np.argsort(-cosines, kind="stable")[len(candidates) :]
            yield sums_in_order(
                np.concatenate([ranked, others]), listed, unlisted, queries.relative[row], division
            )
