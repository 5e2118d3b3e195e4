"""Fits a release's calibration.

Isotonic regression of influence on cosine, held-out queries with all works.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.isotonic import IsotonicRegression

from creditline.calibration import Calibration
from creditline.errors import InvalidInput

MOST_KNOTS = 512
_BINS = 20


def fit_calibration(
    cosines: NDArray[np.float32], influence: NDArray[np.float32], *, most_knots: int = MOST_KNOTS
) -> Calibration:
    """The never falling curve nearest to the labels by least squares. cosines, influence: (H, N)."""
    if cosines.shape != influence.shape or not cosines.size:
        raise InvalidInput(
            f"a calibration needs one influence per cosine; got {influence.shape} and {cosines.shape}",
            field="influence",
        )
    fitted = IsotonicRegression(out_of_bounds="clip").fit(
        cosines.ravel().astype(np.float64), influence.ravel().astype(np.float64)
    )
    return _thinned(fitted.X_thresholds_, fitted.y_thresholds_, most_knots)


def _thinned(cosine: NDArray[np.float64], influence: NDArray[np.float64], most: int) -> Calibration:
    """At most so many knots, evenly spaced along the curve when both of its axes are scaled to 1."""
    cosine, first = np.unique(cosine, return_index=True)
    influence = np.maximum.accumulate(influence[first])
    if len(cosine) > most:
        path = np.cumsum(_steps(cosine) + _steps(influence))
        keep = np.unique(np.searchsorted(path, np.linspace(path[0], path[-1], most)).clip(0, len(cosine) - 1))
        cosine, influence = cosine[keep], influence[keep]
    return Calibration(tuple(cosine.tolist()), tuple(influence.tolist()))


def _steps(values: NDArray[np.float64]) -> NDArray[np.float64]:
    span = values[-1] - values[0]
    steps: NDArray[np.float64] = np.diff(values, prepend=values[0])
    return steps / span if span > 0 else steps


def relative_influence(influence: NDArray[np.float32]) -> NDArray[np.float32]:
    """Each work's part of its query's positive influence: (H, N); a row that has none stays as it is.

    Queries differ by orders of magnitude in how far the teacher's step moves all works alike; a curve fitted
    on the bare numbers would follow the few largest and call everything else nothing. Shares need the parts
    only.
    """
    total = np.maximum(influence, 0.0).sum(axis=1, keepdims=True)
    return (influence / np.where(total > 0.0, total, 1.0)).astype(np.float32)


@dataclass(frozen=True)
class CalibrationCheck:
    """How a calibration does on queries that it was not fitted on.

    total_ratio: expected over true influence, summed over the tenth of pairs with the highest expectation
    (1 is right). error: mean distance of expected and true mean influence over bins of equally many pairs
    by expectation, relative to the spread of the bins' true means.
    """

    total_ratio: float
    error: float


def check_calibration(
    cosines: NDArray[np.float32], influence: NDArray[np.float32], *, seed: int
) -> CalibrationCheck:
    """Fit on one half of the queries, look at the other, and the other way round: the mean of both."""
    order = np.random.default_rng(seed).permutation(len(cosines))
    halves = (order[: len(order) // 2], order[len(order) // 2 :])
    checks = [
        _checked(fit_calibration(cosines[fit], influence[fit]), cosines[other], influence[other])
        for fit, other in (halves, halves[::-1])
    ]
    ratios, errors = zip(*((check.total_ratio, check.error) for check in checks), strict=True)
    return CalibrationCheck(float(np.mean(ratios)), float(np.mean(errors)))


def _checked(
    calibration: Calibration, cosines: NDArray[np.float32], influence: NDArray[np.float32]
) -> CalibrationCheck:
    expected, truth = calibration.expected_influence(cosines.ravel()), influence.ravel().astype(np.float64)
    order = np.argsort(expected, kind="stable")
    bins = np.array_split(order, _BINS)
    expected_means = np.array([expected[rows].mean() for rows in bins])
    true_means = np.array([truth[rows].mean() for rows in bins])
    top = order[-max(1, len(order) // 10) :]
    spread = max(float(np.ptp(true_means)), 1e-30)
    return CalibrationCheck(
        total_ratio=float(expected[top].sum() / max(abs(truth[top].sum()), 1e-30)),
        error=float(np.abs(expected_means - true_means).mean() / spread),
    )
