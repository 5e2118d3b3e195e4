"""Percentile bootstrap: how far a mean over queries, or a paired difference of two, could be from chance."""

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
    """The 95 % percentile interval of resampled values around the value itself."""
    low, high = np.percentile(np.asarray(resampled, dtype=np.float64), [_LOW_PERCENTILE, _HIGH_PERCENTILE])
    return Estimate(float(value), float(low), float(high))


def bootstrap(
    statistic: Callable[[NDArray[np.intp]], float], size: int, *, seed: int, resamples: int = RESAMPLES
) -> Estimate:
    """Interval of any statistic of `size` units.

    It is called with the units' rows, drawn with replacement.
    """
    if size < 1:
        raise InvalidInput("a bootstrap needs at least one value", field="values")
    random = np.random.default_rng(seed)
    drawn = [statistic(random.integers(size, size=size)) for _ in range(resamples)]
    return interval_of(statistic(np.arange(size)), drawn)


def bootstrap_mean(values: ArrayLike, *, seed: int, resamples: int = RESAMPLES) -> Estimate:
    """Mean of one number per query. values: (Q,)."""
    numbers = np.asarray(values, dtype=np.float64)
    return bootstrap(lambda rows: float(numbers[rows].mean()), len(numbers), seed=seed, resamples=resamples)


def paired_difference(
    ours: ArrayLike, theirs: ArrayLike, *, seed: int, resamples: int = RESAMPLES
) -> Estimate:
    """Mean difference of two methods over the same queries: each query is drawn for both at once.

    ours, theirs: (Q,), row i of both of query i. The methods differ where the interval excludes 0.
    """
    first, second = np.asarray(ours, dtype=np.float64), np.asarray(theirs, dtype=np.float64)
    if first.shape != second.shape:
        raise InvalidInput(
            f"a paired difference needs the same queries; got {first.shape} and {second.shape}"
        )
    return bootstrap_mean(first - second, seed=seed, resamples=resamples)
