"""Agreement of a ranking with the teacher's influence on one query (methods.md § 4)."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from creditline.errors import InvalidInput


def ndcg_at_k(scores: ArrayLike, influence: ArrayLike, k: int) -> float:
    """Normalised discounted cumulative gain of the first `k`: gain = positive influence, discount
    log2(rank + 1).

    scores, influence: (N,). Where no work has positive influence nothing can be missed: 1.
    """
    ranked, truth = _checked(scores, influence)
    gains = np.maximum(truth, 0.0)
    best = discounted(np.sort(gains)[::-1][:k])
    return 1.0 if best == 0.0 else discounted(gains[best_first(ranked)[:k]]) / best


def recall_at_k(scores: ArrayLike, influence: ArrayLike, k: int) -> float:
    """The part of the teacher's first `k` that is among the ranking's first `k`."""
    ranked, truth = _checked(scores, influence)
    wanted = best_first(truth)[:k]
    return len(np.intersect1d(wanted, best_first(ranked)[:k])) / len(wanted)


def average_precision(scores: ArrayLike, influence: ArrayLike, relevant: int) -> float:
    """Average precision of the ranking.

    Relevant are the teacher's first `relevant` works (arXiv 2511.10721).
    """
    ranked, truth = _checked(scores, influence)
    is_relevant = np.zeros(len(truth), dtype=bool)
    is_relevant[best_first(truth)[:relevant]] = True
    found = is_relevant[best_first(ranked)]
    precision = np.cumsum(found) / np.arange(1, len(found) + 1)
    return float(precision[found].mean())


def spearman(first: ArrayLike, second: ArrayLike) -> float:
    """Rank correlation with ties at their mean rank; 0 where one side is constant. first, second: (N,)."""
    one, other = (mean_ranks(values) for values in _checked(first, second))
    one, other = one - one.mean(), other - other.mean()
    scale = float(np.sqrt((one @ one) * (other @ other)))
    return float(one @ other) / scale if scale > 0.0 else 0.0


def best_first(values: NDArray[np.float64]) -> NDArray[np.intp]:
    """Rows by descending value; ties in row order."""
    return np.argsort(-values, kind="stable")


def discounted(gains: NDArray[np.float64]) -> float:
    """Gains in rank order, summed with discount 1 / log2(rank + 1), the first rank being 1."""
    return float(gains @ (1.0 / np.log2(np.arange(2, len(gains) + 2))))


def mean_ranks(values: ArrayLike) -> NDArray[np.float64]:
    """Ranks from 0, ascending; equal values share the mean of their ranks."""
    _, inverse, counts = np.unique(np.asarray(values), return_inverse=True, return_counts=True)
    last = np.cumsum(counts) - 1
    return (last - (counts - 1) / 2.0)[inverse]


def _checked(first: ArrayLike, second: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    one, other = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if one.shape != other.shape or one.ndim != 1 or not len(one):
        raise InvalidInput(
            f"agreement is between two lists of the same works; got {one.shape} and {other.shape}"
        )
    if not (np.isfinite(one).all() and np.isfinite(other).all()):
        raise InvalidInput("agreement needs finite numbers; one of the lists holds a NaN or an infinity")
    return one, other
