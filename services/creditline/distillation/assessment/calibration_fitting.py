"""Fits a release's calibration.

Isotonic regression of influence, and of its positive part, on cosine: held-out queries with all works.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.isotonic import IsotonicRegression

from creditline.calibration import Calibration
from creditline.errors import InvalidInput

MOST_KNOTS = 512
_BINS = 20
# The check looks at lists of so many works, as answers have.
_LISTED = 10


def fit_calibration(
    cosines: NDArray[np.float32], influence: NDArray[np.float32], *, most_knots: int = MOST_KNOTS
) -> Calibration:
    """The never falling curves nearest to the labels by least squares. cosines, influence: (H, N)."""
    if cosines.shape != influence.shape or not cosines.size:
        raise InvalidInput(
            f"a calibration needs one influence per cosine; got {influence.shape} and {cosines.shape}",
            field="influence",
        )
    at, labels = cosines.ravel().astype(np.float64), influence.ravel().astype(np.float64)
    mean, positive = (
        IsotonicRegression(out_of_bounds="clip").fit(at, values)
        for values in (labels, np.maximum(labels, 0.0))
    )
    cosine = np.unique(np.concatenate([mean.X_thresholds_, positive.X_thresholds_]))
    return _thinned(cosine, _never_falling(mean, cosine), _never_falling(positive, cosine), most_knots)


def _never_falling(curve: IsotonicRegression, cosine: NDArray[np.float64]) -> NDArray[np.float64]:
    """The fitted curve at rising cosines; rounding may make it fall by a last digit, which is undone."""
    values: NDArray[np.float64] = np.maximum.accumulate(curve.predict(cosine))
    return values


def _thinned(
    cosine: NDArray[np.float64], influence: NDArray[np.float64], positive: NDArray[np.float64], most: int
) -> Calibration:
    """At most so many knots, evenly spaced along the curves when all axes are scaled to 1."""
    if len(cosine) > most:
        path = np.cumsum(_steps(cosine) + _steps(influence) + _steps(positive))
        keep = np.unique(np.searchsorted(path, np.linspace(path[0], path[-1], most)).clip(0, len(cosine) - 1))
        cosine, influence, positive = cosine[keep], influence[keep], positive[keep]
    return Calibration(tuple(cosine.tolist()), tuple(influence.tolist()), tuple(positive.tolist()))


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
    by expectation, relative to the spread of the bins' true means. remainder, remainder_true: the part of a
    query's positive influence outside the ten nearest works, as an answer would say and as the labels say,
    mean over queries.
    """

    total_ratio: float
    error: float
    remainder: float
    remainder_true: float


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
    return CalibrationCheck(*np.mean([dataclasses.astuple(check) for check in checks], axis=0).tolist())


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
        remainder=float(np.mean([_expected_remainder(calibration, row) for row in cosines])),
        remainder_true=float(
            np.mean([_true_remainder(*pair) for pair in zip(cosines, influence, strict=True)])
        ),
    )


def _expected_remainder(calibration: Calibration, cosines: NDArray[np.float32]) -> float:
    """What an answer that lists the nearest works says of all others. cosines: (N,)."""
    order = np.argsort(-cosines)
    listed = np.maximum(calibration.expected_influence(cosines[order[:_LISTED]]), 0.0).sum()
    others = calibration.expected_positive(cosines[order[_LISTED:]]).sum()
    return float(others / (listed + others)) if listed + others > 0.0 else 1.0


def _true_remainder(cosines: NDArray[np.float32], influence: NDArray[np.float32]) -> float:
    parts = np.maximum(influence.astype(np.float64), 0.0)
    total = float(parts.sum())
    listed = float(parts[np.argsort(-cosines)[:_LISTED]].sum())
    return 1.0 - listed / total if total > 0.0 else 1.0
