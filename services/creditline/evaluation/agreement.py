"""Measures of agreement between a ranking and the teacher's influence on one query (methods.md § 4)."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from creditline.errors import InvalidInput


def ndcg_at_k(scores: ArrayLike, influence: ArrayLike, k: int) -> float:
    """Normalised discounted cumulative gain (nDCG) of the first `k` works of a ranking.

    The gain of a work is its positive influence, the discount is log2(rank + 1).

    Args:
        scores: (N,) scores that rank the works.
        influence: (N,) influence by the teacher.
        k: Number of ranks.

    Returns:
        0 to 1; 1 where no work has positive influence.

    Raises:
        InvalidInput: The arrays differ in shape, are empty or are not finite.
    """
    ranked, truth = _checked(scores, influence)
    gains = np.maximum(truth, 0.0)
    best = discounted(np.sort(gains)[::-1][:k])
    return 1.0 if best == 0.0 else discounted(gains[best_first(ranked)[:k]]) / best


def recall_at_k(scores: ArrayLike, influence: ArrayLike, k: int) -> float:
    """The part of the teacher's first `k` works that is among the ranking's first `k`.

    Args:
        scores: (N,) scores that rank the works.
        influence: (N,) influence by the teacher.
        k: Number of works.

    Raises:
        InvalidInput: The arrays differ in shape, are empty or are not finite.
    """
    ranked, truth = _checked(scores, influence)
    wanted = best_first(truth)[:k]
    return len(np.intersect1d(wanted, best_first(ranked)[:k])) / len(wanted)


def average_precision(scores: ArrayLike, influence: ArrayLike, relevant: int) -> float:
    """Average precision of a ranking (arXiv 2511.10721).

    Args:
        scores: (N,) scores that rank the works.
        influence: (N,) influence by the teacher.
        relevant: Number of the teacher's first works that count as relevant.

    Raises:
        InvalidInput: The arrays differ in shape, are empty or are not finite.
    """
    ranked, truth = _checked(scores, influence)
    is_relevant = np.zeros(len(truth), dtype=bool)
    is_relevant[best_first(truth)[:relevant]] = True
    hits = is_relevant[best_first(ranked)]
    precision = np.cumsum(hits) / np.arange(1, len(hits) + 1)
    return float(precision[hits].mean())


def spearman(first: ArrayLike, second: ArrayLike) -> float:
    """Spearman's rank correlation; equal values share their mean rank.

    Args:
        first: (N,) values.
        second: (N,) values of the same works.

    Returns:
        −1 to 1; 0 where one array is constant.

    Raises:
        InvalidInput: The arrays differ in shape, are empty or are not finite.
    """
    one, other = (mean_ranks(values) for values in _checked(first, second))
    one, other = one - one.mean(), other - other.mean()
    scale = float(np.sqrt((one @ one) * (other @ other)))
    return float(one @ other) / scale if scale > 0.0 else 0.0


def best_first(values: NDArray[np.float64]) -> NDArray[np.intp]:
    """Row indices in order of descending value; equal values stay in row order."""
    return np.argsort(-values, kind="stable")


def discounted(gains: NDArray[np.float64]) -> float:
    """Discounted cumulative gain: Σ gain / log2(rank + 1), for gains in rank order from rank 1."""
    return float(gains @ (1.0 / np.log2(np.arange(2, len(gains) + 2))))


def mean_ranks(values: ArrayLike) -> NDArray[np.float64]:
    """Ranks of the values, ascending from 0; equal values share their mean rank."""
    _, inverse, counts = np.unique(np.asarray(values), return_inverse=True, return_counts=True)
    last = np.cumsum(counts) - 1
    return (last - (counts - 1) / 2.0)[inverse]


def _checked(first: ArrayLike, second: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    one, other = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if one.shape != other.shape or one.ndim != 1 or not len(one):
        raise InvalidInput(
            "agreement needs two non-empty lists of values for the same works; got the shapes"
            f" {one.shape} and {other.shape}"
        )
    if not (np.isfinite(one).all() and np.isfinite(other).all()):
        raise InvalidInput(
            "agreement needs finite numbers; one of the lists contains NaN or an infinite value"
        )
    return one, other
