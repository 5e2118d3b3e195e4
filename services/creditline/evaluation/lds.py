"""The linear datamodelling score: do a method's scores tell what retraining on other works does to a query?

For random subsets S of the works: rank correlation over the subsets of Σ over S of the scores with −(loss of
the query under the model trained on S); arXiv 2303.14186, eq. 6. Its control is a random score, which must
lie around 0, and its ceiling what one half of the seeds tells of the other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata

from creditline.errors import InvalidInput
from creditline.evaluation.bootstrap import RESAMPLES, Estimate, interval_of


@dataclass(frozen=True)
class Retrained:
    """subsets: (M, N) bool or float; losses: (M, seeds, Q) float64, of each query under each model."""

    subsets: NDArray[np.float64]
    losses: NDArray[np.float64]

    def __post_init__(self) -> None:
        if self.losses.ndim != 3 or len(self.losses) != len(self.subsets):
            raise InvalidInput(
                f"losses of shape {self.losses.shape} do not belong to {len(self.subsets)} subsets"
            )

    def benefit(self) -> NDArray[np.float64]:
        """How well each model knows each query: minus the loss, averaged over seeds: (M, Q)."""
        return -self.losses.mean(axis=1)


def column_spearman(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rank correlation column by column, 0 where a column is constant: (M, Q), (M, Q) -> (Q,)."""
    one, other = rankdata(first, axis=0), rankdata(second, axis=0)
    one, other = one - one.mean(axis=0), other - other.mean(axis=0)
    scale = np.sqrt((one * one).sum(axis=0) * (other * other).sum(axis=0))
    joint = (one * other).sum(axis=0)
    return np.divide(joint, scale, out=np.zeros_like(joint), where=scale > 0)


def lds_by_query(scores: ArrayLike, retrained: Retrained) -> NDArray[np.float64]:
    """The score of each query: (Q,). scores: (Q, N). Raises InvalidInput for another shape or a NaN."""
    predicted = predictions(scores, retrained)
    return column_spearman(predicted, retrained.benefit())


def predictions(scores: ArrayLike, retrained: Retrained) -> NDArray[np.float64]:
    """What the scores foretell of each model: the sum over the works that it saw: (M, Q)."""
    values = np.asarray(scores, dtype=np.float64)
    wanted = (retrained.losses.shape[2], retrained.subsets.shape[1])
    if values.shape != wanted:
        raise InvalidInput(f"scores of shape {values.shape} are not (queries, works) = {wanted}")
    if not np.isfinite(values).all():
        raise InvalidInput("a score is no number; the method failed on a query or a work")
    predicted: NDArray[np.float64] = retrained.subsets.astype(np.float64) @ values.T
    return predicted


def lds(scores: ArrayLike, retrained: Retrained, *, seed: int, resamples: int = RESAMPLES) -> Estimate:
    """Mean over queries, with its interval over queries and subsets together."""
    return _resampled([predictions(scores, retrained)], [retrained.benefit()], _first, seed, resamples)


def lds_difference(
    ours: ArrayLike, theirs: ArrayLike, retrained: Retrained, *, seed: int, resamples: int = RESAMPLES
) -> Estimate:
    """LDS of one method less that of another, over the same draws of queries and subsets."""
    predicted = [predictions(ours, retrained), predictions(theirs, retrained)]
    return _resampled(
        predicted, [retrained.benefit()] * 2, lambda means: means[0] - means[1], seed, resamples
    )


def noise_ceiling(retrained: Retrained, *, seed: int, resamples: int = RESAMPLES) -> Estimate:
    """Rank correlation over subsets between one seed's losses and another's, averaged over pairs of seeds.

    Raises InvalidInput when there is only one seed.
    """
    seeds = retrained.losses.shape[1]
    if seeds < 2:
        raise InvalidInput("a noise ceiling needs two seeds a subset; train the second", field="seeds")
    pairs = list(combinations(range(seeds), 2))
    first = [retrained.losses[:, one] for one, _ in pairs]
    second = [retrained.losses[:, other] for _, other in pairs]
    return _resampled(first, second, lambda means: float(np.mean(means)), seed, resamples)


def _first(means: list[float]) -> float:
    return means[0]


def _resampled(
    first: list[NDArray[np.float64]],
    second: list[NDArray[np.float64]],
    combine: Callable[[list[float]], float],
    seed: int,
    resamples: int,
) -> Estimate:
    """Columns of `first` against columns of `second`, with subsets (rows) and queries drawn together.

    A subset that is drawn twice ties with itself on both sides; its weight is what the bootstrap means.
    """
    random = np.random.default_rng(seed)
    subsets, queries = first[0].shape

    def statistic(rows: NDArray[np.intp], columns: NDArray[np.intp]) -> float:
        means = []
        for one, other in zip(first, second, strict=True):
            drawn = np.ix_(rows, columns)
            means.append(float(column_spearman(one[drawn], other[drawn]).mean()))
        return combine(means)

    value = statistic(np.arange(subsets), np.arange(queries))
    draws = [
        statistic(random.integers(subsets, size=(subsets,)), random.integers(queries, size=(queries,)))
        for _ in range(resamples)
    ]
    return interval_of(value, draws)
