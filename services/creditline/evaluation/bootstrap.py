"""Percentile bootstrap intervals of means over queries and of paired differences between methods."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from creditline.api.answers import Estimate
from creditline.errors import InvalidInput

__all__ = ["RESAMPLES", "Estimate", "bootstrap", "bootstrap_mean", "interval_of", "paired_difference"]

RESAMPLES = 2000
_LOW_PERCENTILE, _HIGH_PERCENTILE = 2.5, 97.5


def interval_of(value: float, resampled: ArrayLike) -> Estimate:
    """A value with its 95 % percentile interval.

    Args:
        value: The statistic of the original sample.
        resampled: (R,) the statistic of each resample.
    """
    low, high = np.percentile(np.asarray(resampled, dtype=np.float64), [_LOW_PERCENTILE, _HIGH_PERCENTILE])
    return Estimate(float(value), float(low), float(high))


def bootstrap(
    statistic: Callable[[NDArray[np.intp]], float], size: int, *, seed: int, resamples: int = RESAMPLES
) -> Estimate:
    """Bootstrap interval of a statistic.

    Args:
        statistic: Called with the row indices of the drawn units, (size,).
        size: Number of units, drawn with replacement.
        seed: Seed of the resampling.
        resamples: Number of resamples.

    Raises:
        InvalidInput: `size` is less than 1.
    """
    if size < 1:
        raise InvalidInput("a bootstrap needs at least one value", field="values")
    random = np.random.default_rng(seed)
    resampled = [statistic(random.integers(size, size=size)) for _ in range(resamples)]
    return interval_of(statistic(np.arange(size)), resampled)


def bootstrap_mean(values: ArrayLike, *, seed: int, resamples: int = RESAMPLES) -> Estimate:
    """Bootstrap interval of a mean over queries.

    Args:
        values: (Q,) one number per query.
        seed: Seed of the resampling.
        resamples: Number of resamples.

    Raises:
        InvalidInput: `values` is empty.
    """
    numbers = np.asarray(values, dtype=np.float64)
    return bootstrap(lambda rows: float(numbers[rows].mean()), len(numbers), seed=seed, resamples=resamples)


def paired_difference(
    ours: ArrayLike, theirs: ArrayLike, *, seed: int, resamples: int = RESAMPLES
) -> Estimate:
    """Bootstrap interval of the mean difference between two methods over the same queries.

    Each resampled query counts for both methods. The difference is significant where the interval excludes 0.

    Args:
        ours: (Q,) one number per query.
        theirs: (Q,) numbers of the same queries by the other method.
        seed: Seed of the resampling.
        resamples: Number of resamples.

    Raises:
        InvalidInput: The arrays differ in shape or are empty.
    """
    first, second = np.asarray(ours, dtype=np.float64), np.asarray(theirs, dtype=np.float64)
    if first.shape != second.shape:
        raise InvalidInput(
            "a paired difference needs values for the same queries; got the shapes"
            f" {first.shape} and {second.shape}"
        )
    return bootstrap_mean(first - second, seed=seed, resamples=resamples)
