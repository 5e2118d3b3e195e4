"""The linear datamodelling score (LDS): how well a method's scores predict the effect of retraining.

For random subsets S of the works, it is the rank correlation, over the subsets, between the sum of the scores
over S and −(loss of the query under the model trained on S); arXiv 2303.14186, eq. 6. The control is a random
score, whose LDS is about 0; the ceiling is the agreement between the losses of different seeds.
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
class RetrainedModels:
    """Models retrained on subsets of the works, with the losses of the queries.

    Raises:
        InvalidInput: The shapes do not fit each other.
    """

    subsets: NDArray[np.float64]
    """(M, N) float64, 1 where model m was trained on work n, else 0."""
    losses: NDArray[np.float64]
    """(M, seeds, Q) float64, loss of each query under each model."""

    def __post_init__(self) -> None:
        if self.losses.ndim != 3 or len(self.losses) != len(self.subsets):
            raise InvalidInput(
                f"losses of shape {self.losses.shape} do not belong to {len(self.subsets)} subsets; they must"
                " have the shape (subsets, seeds, queries)"
            )

    def benefit(self) -> NDArray[np.float64]:
        """Minus the loss of each query under each model, averaged over seeds: (M, Q) float64."""
        return -self.losses.mean(axis=1)


def column_spearman(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rank correlation of two matrices, column by column.

    Args:
        first: (M, Q) float64.
        second: (M, Q) float64.

    Returns:
        (Q,) float64, 0 where a column is constant.
    """
    one, other = rankdata(first, axis=0), rankdata(second, axis=0)
    one, other = one - one.mean(axis=0), other - other.mean(axis=0)
    scale = np.sqrt((one * one).sum(axis=0) * (other * other).sum(axis=0))
    joint = (one * other).sum(axis=0)
    return np.divide(joint, scale, out=np.zeros_like(joint), where=scale > 0)


def lds_by_query(scores: ArrayLike, retrained: RetrainedModels) -> NDArray[np.float64]:
    """LDS of each query.

    Args:
        scores: (Q, N) scores of the works for each query.
        retrained: The retrained models.

    Returns:
        (Q,) float64, −1 to 1.

    Raises:
        InvalidInput: The scores have another shape, or are not finite.
    """
    predicted = predictions(scores, retrained)
    return column_spearman(predicted, retrained.benefit())


def predictions(scores: ArrayLike, retrained: RetrainedModels) -> NDArray[np.float64]:
    """Predicted benefit of each query under each model: the sum of the scores of its training works.

    Args:
        scores: (Q, N) scores of the works for each query.
        retrained: The retrained models.

    Returns:
        (M, Q) float64.

    Raises:
        InvalidInput: The scores have another shape, or are not finite.
    """
    values = np.asarray(scores, dtype=np.float64)
    wanted = (retrained.losses.shape[2], retrained.subsets.shape[1])
    if values.shape != wanted:
        raise InvalidInput(f"scores have the shape {values.shape}, but must have (queries, works) = {wanted}")
    if not np.isfinite(values).all():
        raise InvalidInput("a score is NaN or infinite; the method failed on a query or a work")
    predicted: NDArray[np.float64] = retrained.subsets.astype(np.float64) @ values.T
    return predicted


def lds(scores: ArrayLike, retrained: RetrainedModels, *, seed: int, resamples: int = RESAMPLES) -> Estimate:
    """Mean LDS over the queries, with its bootstrap interval over queries and subsets together.

    Args:
        scores: (Q, N) scores of the works for each query.
        retrained: The retrained models.
        seed: Seed of the resampling.
        resamples: Number of resamples.

    Raises:
        InvalidInput: The scores have another shape, or are not finite.
    """
    return _resampled([predictions(scores, retrained)], [retrained.benefit()], _first, seed, resamples)


def lds_difference(
    ours: ArrayLike, theirs: ArrayLike, retrained: RetrainedModels, *, seed: int, resamples: int = RESAMPLES
) -> Estimate:
    """LDS of one method minus that of another, over the same resamples of queries and subsets.

    Args:
        ours: (Q, N) scores of the one method.
        theirs: (Q, N) scores of the other method.
        retrained: The retrained models.
        seed: Seed of the resampling.
        resamples: Number of resamples.

    Raises:
        InvalidInput: The scores have another shape, or are not finite.
    """
    predicted = [predictions(ours, retrained), predictions(theirs, retrained)]
    return _resampled(
        predicted, [retrained.benefit()] * 2, lambda means: means[0] - means[1], seed, resamples
    )


def noise_ceiling(retrained: RetrainedModels, *, seed: int, resamples: int = RESAMPLES) -> Estimate:
    """Rank correlation over subsets between the losses of two seeds, averaged over all pairs of seeds.

    Args:
        retrained: The retrained models.
        seed: Seed of the resampling.
        resamples: Number of resamples.

    Raises:
        InvalidInput: The models were trained from only one seed.
    """
    seeds = retrained.losses.shape[1]
    if seeds < 2:
        raise InvalidInput(
            "a noise ceiling needs models from two seeds for each subset; train the second", field="seeds"
        )
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
    """Bootstrap interval of column-wise rank correlations, over subsets (rows) and queries (columns).

    A subset that is drawn twice ties with itself in both matrices, which gives it the bootstrap's weight.

    Args:
        first: Matrices (M, Q).
        second: Matrices (M, Q), each correlated with the one at the same position in `first`.
        combine: From the mean correlation of each pair of matrices to the statistic.
        seed: Seed of the resampling.
        resamples: Number of resamples.
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
