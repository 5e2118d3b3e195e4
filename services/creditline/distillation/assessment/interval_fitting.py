"""Fitting of an answer's intervals: those of single works, and those of sums over works.

A work's interval is a band of quantiles by cosine, which is then widened until it covers the works of other
queries.

The works of one query are not independent, so coverage is measured per query (split conformal prediction
with queries as the units, arXiv 2107.07511): the quantiles are fitted on one half of the queries, the
widening factors on the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from creditline.calibration.intervals import DeviationInterval, Intervals, spread
from creditline.errors import InvalidInput

NOMINAL_COVERAGE = 0.9
# Ends of the bins of works by descending cosine, finer towards the nearest works, which answers list.
_TAIL = np.geomspace(1e-3, 1.0, 25)
_MIN_WORKS_PER_KNOT = 30
# Number of works that an answer typically lists.
_LISTED = 10


def fit_intervals(
    cosines: NDArray[np.float32],
    influence: NDArray[np.float32],
    *,
    nominal_coverage: float = NOMINAL_COVERAGE,
    seed: int = 0,
) -> Intervals:
    """Fit the intervals of single works.

    Args:
        cosines: (H, N) float32, of queries that the encoder was not trained on.
        influence: (H, N) float32, the teacher's labels.
        nominal_coverage: Fraction of works that the intervals cover.
        seed: Seed of the split into halves.

    Raises:
        InvalidInput: The shapes differ, or there are fewer than four queries.
    """
    if cosines.shape != influence.shape or len(cosines) < 4:
        raise InvalidInput(
            f"intervals need cosines and influences of at least 4 queries; got {cosines.shape} and"
            f" {influence.shape}",
            field="influence",
        )
    order = np.random.default_rng(seed).permutation(len(cosines))
    fitting, widening = order[: len(order) // 2], order[len(order) // 2 :]
    band = _quantiles(cosines[fitting].ravel(), influence[fitting].ravel(), nominal_coverage)
    return _widened(band, cosines[widening], influence[widening])


def coverage(
    band: Intervals, cosines: NDArray[np.float32], influence: NDArray[np.float32]
) -> NDArray[np.float64]:
    """Fraction of each query's works whose influence lies in the band: (H, N), (H, N) -> (H,) float64."""
    low, high = band.of(cosines)
    inside: NDArray[np.float64] = ((low <= influence) & (influence <= high)).mean(axis=1)
    return inside


def _quantiles(
    cosines: NDArray[np.float32], influence: NDArray[np.float32], nominal_coverage: float
) -> Intervals:
    """The band of quantiles of each bin, with equal tails on both sides.

    Where the lowest values of a bin are all equal (most works have no influence), nothing is cut off below,
    and the whole tail is cut off above.
    """
    order = np.argsort(-cosines, kind="stable")
    ends = np.unique(np.maximum((_TAIL * len(order)).astype(int), min(_MIN_WORKS_PER_KNOT, len(order))))
    knots: list[tuple[float, float, float]] = []
    for start, end in zip([0, *ends[:-1]], ends, strict=True):
        rows = order[start:end]
        values = np.sort(influence[rows].astype(np.float64))
        low = float(np.quantile(values, (1.0 - nominal_coverage) / 2))
        below = float((values < low).mean())
        knots.append(
            (
                float(np.median(cosines[rows])),
                low,
                float(np.quantile(values, min(1.0, below + nominal_coverage))),
            )
        )
    by_cosine = {cosine: (low, high) for cosine, low, high in reversed(knots)}
    lows, highs = zip(*by_cosine.values(), strict=True)
    return Intervals(tuple(by_cosine), lows, highs, nominal_coverage)


def _widened(band: Intervals, cosines: NDArray[np.float32], influence: NDArray[np.float32]) -> Intervals:
    """The band widened about its middle, at each knot as far as needed to cover the works near the knot.

    At knots with works that answers would list, only these count, not others of the same cosine: being among
    a query's nearest works says more about influence than the cosine does. Where they are few, those of the
    nearest knots count too, and the others of the same cosine must be covered as well.
    """
    low, high = np.array(band.low), np.array(band.high)
    middle, half = (low + high) / 2, np.maximum((high - low) / 2, 1e-12)
    knots = np.array(band.cosine)
    knot = np.searchsorted((knots[1:] + knots[:-1]) / 2, cosines)
    below, above = (middle[knot] - influence) / half[knot], (influence - middle[knot]) / half[knot]
    # A lower bound of zero or less is not widened, so only the upper side counts there.
    needed = np.where(low[knot] <= 0.0, above, np.maximum(below, above))
    listed = cosines >= np.sort(cosines, axis=1)[:, -_LISTED:][:, :1]
    counts = np.bincount(knot[listed], minlength=len(low))
    factors = np.empty(len(low))
    for number in range(len(low)):
        near = listed & (np.abs(knot - number) <= _reach(counts, number))
        factors[number] = _factor(needed[near if counts[number] else knot == number], band.coverage)
        if 0 < counts[number] < _MIN_WORKS_PER_KNOT:
            factors[number] = max(factors[number], _factor(needed[knot == number], band.coverage))
    low = np.where(low <= 0.0, low, middle - factors * half)
    high = np.maximum(low, middle + factors * half)
    return replace(band, low=tuple(low.tolist()), high=tuple(high.tolist()))


def _reach(counts: NDArray[np.intp], knot: int) -> int:
    """Distance in knots within which there are enough listed works. counts: (K,), listed works by knot."""
    for reach in range(len(counts)):
        if counts[max(knot - reach, 0) : knot + reach + 1].sum() >= _MIN_WORKS_PER_KNOT:
            return reach
    return len(counts)


def _factor(needed: NDArray[np.float64], nominal_coverage: float) -> float:
    """The factor that covers `nominal_coverage` of works. needed: (W,), the least factor of each."""
    return float(np.quantile(needed, nominal_coverage)) if len(needed) else 1.0


def fit_deviation_interval(
    expected: Sequence[NDArray[np.float64]],
    true: Sequence[NDArray[np.float64]],
    *,
    nominal_coverage: float = NOMINAL_COVERAGE,
) -> DeviationInterval:
    """Fit the intervals of sums over works; every query has the same weight, however many sums it has.

    Args:
        expected: Expected sums of each of H queries that were not fitted on, (S,) float64 each, as parts of
            the query's influence.
        true: True sums, in the same form.
        nominal_coverage: Fraction of sums that the intervals cover.

    Raises:
        InvalidInput: There are no sums.
    """
    counts = [len(sums) for sums in expected]
    if sum(counts) == 0:
        raise InvalidInput(
            "there are no sums to fit the intervals on; label more held-out queries", field="expected"
        )
    deviations = np.concatenate([(t - e) / spread(e) for e, t in zip(expected, true, strict=True)])
    weights = np.repeat([1.0 / count if count else 0.0 for count in counts], counts)
    # Counts one more query than there are, which may lie anywhere (split conformal prediction).
    tail = (1.0 - nominal_coverage) / 2 * max(1.0 - 1.0 / len(counts), 0.0)
    low, high = (_weighted_quantile(deviations, weights, level) for level in (tail, 1.0 - tail))
    return DeviationInterval(min(low, 0.0), max(high, 0.0))


def _weighted_quantile(values: NDArray[np.float64], weights: NDArray[np.float64], level: float) -> float:
    order = np.argsort(values)
    below = np.cumsum(weights[order]) / weights.sum()
    return float(values[order][min(int(np.searchsorted(below, level)), len(values) - 1)])
