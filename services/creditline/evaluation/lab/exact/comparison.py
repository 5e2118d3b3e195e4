"""Methods against exact effects: ranks of the works of each query, and losses without small sets of works."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from creditline.evaluation.bootstrap import RESAMPLES, Estimate, bootstrap, bootstrap_mean, interval_of
from creditline.evaluation.lab.exact.record import ExactRecord
from creditline.evaluation.lds import column_spearman

SEED = 23


def rank_agreement(record: ExactRecord, scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rank correlation of scores with exact effects over the works, query by query: (E,) float64.

    Args:
        record: The exact effects of the first E queries.
        scores: (Q, N) float64, of all queries.
    """
    return column_spearman(scores[: len(record.effects)].T, record.effects.T)


def removal_agreement(record: ExactRecord, scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Correlation of sums of scores with the measured rises over the sets: (queries,) float64.

    Scores count from their mean over the works, because sets differ in size: any constant would predict that.

    Args:
        record: The exact effects, whose sets were left out of the training.
        scores: (queries, N) float64, of the first queries.
    """
    centred = scores - scores.mean(axis=1, keepdims=True)
    return column_pearson(record.predicted(centred), record.measured(len(scores)))


def column_pearson(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    """Correlation of two matrices (R, Q), column by column: (Q,) float64, 0 where a column is constant."""
    one, other = first - first.mean(axis=0), second - second.mean(axis=0)
    scale = np.sqrt((one * one).sum(axis=0) * (other * other).sum(axis=0))
    joint = (one * other).sum(axis=0)
    return np.divide(joint, scale, out=np.zeros_like(joint), where=scale > 0)


def mean_over_queries(by_query: NDArray[np.float64]) -> Estimate:
    """Mean over the queries, with its bootstrap interval."""
    return bootstrap_mean(by_query, seed=SEED)


def pooled_correlation(record: ExactRecord, sets: list[int] | None = None) -> Estimate:
    """Correlation of predicted and measured rises over all sets and queries together.

    The interval is from resamples of the sets and of the queries.

    Args:
        record: The exact effects, with the losses without each set.
        sets: Rows of the sets to count; None: all.
    """
    rows = np.arange(len(record.sets)) if sets is None else np.asarray(sets)
    predicted = record.predicted(record.effects)[rows]
    measured = record.measured(len(record.effects))[rows]

    def correlation(drawn: tuple[NDArray[np.intp], ...]) -> float:
        return float(column_pearson(predicted[drawn].reshape(-1, 1), measured[drawn].reshape(-1, 1))[0])

    count, queries = predicted.shape
    random = np.random.default_rng(SEED)
    resampled = [
        correlation(np.ix_(random.integers(count, size=count), random.integers(queries, size=queries)))
        for _ in range(RESAMPLES)
    ]
    return interval_of(correlation(np.ix_(np.arange(count), np.arange(queries))), resampled)


def crossed_ratio(
    ours: Mapping[str, NDArray[np.float64]], theirs: Mapping[str, NDArray[np.float64]]
) -> Estimate:
    """Our best method over the best other one, each chosen on queries on which it is not judged.

    The queries are split into even and odd ones; the best method of each side is chosen on one half and
    judged on the other. The ratio is that of the means over all queries; its interval is from resamples of
    the queries, with the choices kept.

    Args:
        ours: Agreement of each of our methods with the exact effects by query, (Q,) each.
        theirs: The same of the methods that ours are compared with.
    """
    first, second = (_chosen_elsewhere(side) for side in (ours, theirs))
    return _ratio_of_means(first, second)


def _chosen_elsewhere(methods: Mapping[str, NDArray[np.float64]]) -> NDArray[np.float64]:
    """Agreement by query of the method that is best on the other half of the queries: (Q,) float64."""
    table = np.stack(list(methods.values()))
    agreement = np.empty(table.shape[1])
    for half in (0, 1):
        agreement[half::2] = table[table[:, 1 - half :: 2].mean(axis=1).argmax()][half::2]
    return agreement


def _ratio_of_means(first: NDArray[np.float64], second: NDArray[np.float64]) -> Estimate:
    def statistic(rows: NDArray[np.intp]) -> float:
        return float(first[rows].mean() / second[rows].mean())

    return bootstrap(statistic, len(first), seed=SEED)
