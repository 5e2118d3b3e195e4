"""Fits how sure answers are: the band that a work's influence lies in, and how far sums lie off.

The band is of quantiles by cosine, then widened until queries are covered.

A query's works are not independent of each other, so that coverage is counted query by query (split conformal
prediction with queries as the units, arXiv 2107.07511): quantiles come from one half of the queries, and what
they are stretched by from the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from creditline.calibration.intervals import Intervals, Stretch, spread
from creditline.errors import InvalidInput

NOMINAL_COVERAGE = 0.9
# Where the bins of works by falling cosine end: finer towards the nearest, which answers are about.
_TAIL = np.geomspace(1e-3, 1.0, 25)
_LEAST = 30
# Answers list about so many works.
_LISTED = 10


def fit_intervals(
    cosines: NDArray[np.float32],
    influence: NDArray[np.float32],
    *,
    nominal_coverage: float = NOMINAL_COVERAGE,
    seed: int = 0,
) -> Intervals:
    """cosines, influence: (H, N), of queries that the encoder was not trained on.

    Raises InvalidInput when there are too few queries to halve.
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
    """The part of each query's works that lies in the band: (H,)."""
    low, high = band.of(cosines)
    inside: NDArray[np.float64] = ((low <= influence) & (influence <= high)).mean(axis=1)
    return inside


def _quantiles(
    cosines: NDArray[np.float32], influence: NDArray[np.float32], nominal_coverage: float
) -> Intervals:
    """The band that leaves out the lowest and the highest of each bin of works, as many on either side.

    Where the lowest are all alike (most works have no influence at all) none is left out there, and all that
    is left out is left out above.
    """
    order = np.argsort(-cosines, kind="stable")
    ends = np.unique(np.maximum((_TAIL * len(order)).astype(int), min(_LEAST, len(order))))
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
    """The band stretched about its middle, at each knot just so far that works about it are covered.

    Where answers list works, those count and not others of the same cosine: that a work is among its query's
    first says more than its cosine does.
    """
    low, high = np.array(band.low), np.array(band.high)
    middle, half = (low + high) / 2, np.maximum((high - low) / 2, 1e-12)
    knots = np.array(band.cosine)
    knot = np.searchsorted((knots[1:] + knots[:-1]) / 2, cosines)
    below, above = (middle[knot] - influence) / half[knot], (influence - middle[knot]) / half[knot]
    # What no work falls below is no less for a wider band.
    needed = np.where(low[knot] <= 0.0, above, np.maximum(below, above))
    listed = cosines >= np.sort(cosines, axis=1)[:, -_LISTED:][:, :1]
    factors = np.array(
        [_factor(needed[knot == each], listed[knot == each], band.coverage) for each in range(len(low))]
    )
    low = np.where(low <= 0.0, low, middle - factors * half)
    high = np.maximum(low, middle + factors * half)
    return replace(band, low=tuple(low.tolist()), high=tuple(high.tolist()))


def _factor(needed: NDArray[np.float64], listed: NDArray[np.bool_], nominal_coverage: float) -> float:
    """The stretch that covers so many of a knot's works. needed: (W,), the least that covers each."""
    about = needed[listed] if listed.sum() >= _LEAST else needed
    return float(np.quantile(about, nominal_coverage)) if len(about) else 1.0


def fit_stretch(
    expected: Sequence[NDArray[np.float64]],
    true: Sequence[NDArray[np.float64]],
    *,
    nominal_coverage: float = NOMINAL_COVERAGE,
) -> Stretch:
    """How far sums lie off, for each query some of them; a query with many counts no more than one with few.

    expected, true: parts of a query's influence, (S,) for each of H queries that nothing was fitted on.
    Raises InvalidInput when there are no sums.
    """
    counts = [len(sums) for sums in expected]
    if sum(counts) == 0:
        raise InvalidInput("no sums were given to tell how far they lie off; label queries", field="expected")
    off = np.concatenate([(t - e) / spread(e) for e, t in zip(expected, true, strict=True)])
    weights = np.repeat([1.0 / count if count else 0.0 for count in counts], counts)
    # One query more than were seen, which may lie anywhere (split conformal prediction).
    aside = (1.0 - nominal_coverage) / 2 * max(1.0 - 1.0 / len(counts), 0.0)
    low, high = _weighted_quantile(off, weights, aside), _weighted_quantile(off, weights, 1.0 - aside)
    return Stretch(min(low, 0.0), max(high, 0.0))


def _weighted_quantile(values: NDArray[np.float64], weights: NDArray[np.float64], part: float) -> float:
    order = np.argsort(values)
    below = np.cumsum(weights[order]) / weights.sum()
    return float(values[order][min(int(np.searchsorted(below, part)), len(values) - 1)])
