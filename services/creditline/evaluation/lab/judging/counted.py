"""Rank correlations over subsets that occur several times or not at all, for many predictors at once.

A split into choosing and judging subsets gives each subset the count 0 or 1, a bootstrap resample any count.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from creditline.evaluation.bootstrap import RESAMPLES, Estimate, interval_of

_Matrix = NDArray[np.float64]


def counted_spearman(predicted: _Matrix, measured: _Matrix, counts: _Matrix) -> _Matrix:
    """Spearman's correlation over subsets, each of which occurs a number of times.

    It is the correlation of the repeated rows: a subset that occurs twice ties with itself.

    Args:
        predicted: (V, M, Q) float64, predictions of V predictors for Q queries under M subsets.
        measured: (M, Q) float64, what they predict.
        counts: (M,) float64, how often each subset occurs, 0 or more.

    Returns:
        (V, Q) float64, 0 where all predictions or all measured values are equal.
    """
    occurs = counts > 0
    weights, middle = counts[occurs], (counts.sum() + 1.0) / 2.0
    ours = _counted_ranks(np.moveaxis(predicted[:, occurs], 1, 2), weights) - middle
    theirs = _counted_ranks(measured[occurs].T, weights) - middle
    joint = (weights * ours * theirs).sum(axis=2)
    scale = np.sqrt((weights * ours**2).sum(axis=2) * (weights * theirs**2).sum(axis=1))
    return np.divide(joint, scale, out=np.zeros_like(joint), where=scale > 0)


def mean_correlations(
    predicted: _Matrix, measured: _Matrix, *, seed: int, resamples: int = RESAMPLES
) -> list[Estimate]:
    """Mean correlation of each predictor over the queries, with bootstrap intervals on common resamples.

    The resamples, of subsets and queries together, are those of `lds`.

    Args:
        predicted: (V, M, Q) float64, predictions of V predictors for Q queries under M subsets.
        measured: (M, Q) float64, what they predict.
        seed: Seed of the resampling.
        resamples: Number of resamples.
    """
    random = np.random.default_rng(seed)
    subsets, queries = measured.shape
    values = counted_spearman(predicted, measured, np.ones(subsets)).mean(axis=1)
    drawn = []
    for _ in range(resamples):
        rows = np.bincount(random.integers(subsets, size=(subsets,)), minlength=subsets)
        columns = np.bincount(random.integers(queries, size=(queries,)), minlength=queries)
        kept = columns > 0
        by_query = counted_spearman(predicted[:, :, kept], measured[:, kept], rows.astype(np.float64))
        drawn.append(by_query @ columns[kept] / queries)
    resampled = np.stack(drawn)
    return [interval_of(float(value), column) for value, column in zip(values, resampled.T, strict=True)]


def _counted_ranks(values: _Matrix, counts: _Matrix) -> _Matrix:
    """Mean ranks along the last axis, where value m occurs `counts[m]` times: (…, M) -> (…, M)."""
    order = np.argsort(values, axis=-1, kind="stable")
    ascending = np.take_along_axis(values, order, axis=-1)
    upper = np.cumsum(counts[order], axis=-1)
    lower = upper - counts[order]
    # Equal values share the ranks from the lowest of the first to the highest of the last.
    begins = np.ones(values.shape, dtype=bool)
    begins[..., 1:] = ascending[..., 1:] != ascending[..., :-1]
    ends = np.ones(values.shape, dtype=bool)
    ends[..., :-1] = begins[..., 1:]
    lower = np.maximum.accumulate(np.where(begins, lower, 0.0), axis=-1)
    backwards = np.where(ends, upper, np.inf)[..., ::-1]
    upper = np.minimum.accumulate(backwards, axis=-1)[..., ::-1]
    ranks = np.empty_like(values)
    np.put_along_axis(ranks, order, (lower + upper + 1.0) / 2.0, axis=-1)
    return ranks
