"""Fitting of a release's calibration.

Influence and its positive part are each fitted on cosine by isotonic regression, over held-out queries with
all works.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.isotonic import IsotonicRegression

from creditline.calibration import Calibration
from creditline.distillation.assessment.folds import two_folds
from creditline.errors import InvalidInput

Fit = Callable[[NDArray[np.float32], NDArray[np.float32]], Calibration]
MAX_KNOTS = 512
_BINS = 20
# Length of the lists that the check uses, as in answers.
_LISTED = 10


def fit_calibration(
    cosines: NDArray[np.float32], influence: NDArray[np.float32], *, max_knots: int = MAX_KNOTS
) -> Calibration:
    """Fit the non-decreasing curves that are nearest to the labels by least squares.

    Args:
        cosines: (H, N) float32, of H queries with N works.
        influence: (H, N) float32, the teacher's labels.
        max_knots: Greatest number of knots of the curves.

    Raises:
        InvalidInput: The shapes differ, or there are no labels.
    """
    if cosines.shape != influence.shape or not cosines.size:
        raise InvalidInput(
            f"a calibration needs one influence per cosine; got influences of shape {influence.shape} and"
            f" cosines of shape {cosines.shape}",
            field="influence",
        )
    x, labels = cosines.ravel().astype(np.float64), influence.ravel().astype(np.float64)
    mean, positive = (
        IsotonicRegression(out_of_bounds="clip").fit(x, values)
        for values in (labels, np.maximum(labels, 0.0))
    )
    cosine = np.unique(np.concatenate([mean.X_thresholds_, positive.X_thresholds_]))
    return _thinned(cosine, _never_falling(mean, cosine), _never_falling(positive, cosine), max_knots)


def _never_falling(curve: IsotonicRegression, cosine: NDArray[np.float64]) -> NDArray[np.float64]:
    """The fitted curve at ascending cosines; decreases in the last digit, from rounding, are removed."""
    values: NDArray[np.float64] = np.maximum.accumulate(curve.predict(cosine))
    return values


def _thinned(
    cosine: NDArray[np.float64], influence: NDArray[np.float64], positive: NDArray[np.float64], max_knots: int
) -> Calibration:
    """At most `max_knots` knots, evenly spaced along the curves with all axes scaled to 1."""
    if len(cosine) > max_knots:
        path = np.cumsum(_steps(cosine) + _steps(influence) + _steps(positive))
        keep = np.unique(
            np.searchsorted(path, np.linspace(path[0], path[-1], max_knots)).clip(0, len(cosine) - 1)
        )
        cosine, influence, positive = cosine[keep], influence[keep], positive[keep]
    return Calibration(tuple(cosine.tolist()), tuple(influence.tolist()), tuple(positive.tolist()))


def _steps(values: NDArray[np.float64]) -> NDArray[np.float64]:
    span = values[-1] - values[0]
    steps: NDArray[np.float64] = np.diff(values, prepend=values[0])
    return steps / span if span > 0 else steps


def relative_influence(influence: NDArray[np.float32]) -> NDArray[np.float32]:
    """Each work's influence divided by its query's total positive influence: (H, N) -> (H, N) float32.

    A query without positive influence is left unchanged. The scale of influence differs between queries by
    orders of magnitude; a curve fitted on unscaled values would follow the few largest queries and give
    nearly zero everywhere else. Shares need only relative influence.
    """
    total = np.maximum(influence, 0.0).sum(axis=1, keepdims=True)
    return (influence / np.where(total > 0.0, total, 1.0)).astype(np.float32)


@dataclass(frozen=True)
class CalibrationCheck:
    """Accuracy of a calibration on queries that it was not fitted on."""

    total_ratio: float
    """Expected over true influence, summed over the tenth of pairs with the highest expectation; best: 1."""
    error: float
    """Mean distance between expected and true mean influence over equally filled bins of expected influence,
    relative to the range of the bins' true means."""
    remainder: float
    """Part of a query's positive influence outside the ten nearest works, as answers state it; mean over
    queries."""
    remainder_true: float
    """The same part according to the labels; mean over queries."""


def check_calibration(
    cosines: NDArray[np.float32],
    influence: NDArray[np.float32],
    *,
    seed: int,
    fit: Fit = fit_calibration,
) -> CalibrationCheck:
    """Check a calibration by two-fold cross-validation over queries.

    Args:
        cosines: (H, N) float32.
        influence: (H, N) float32.
        seed: Seed of the split into halves.
        fit: Fits the calibration.

    Returns:
        Mean of the two folds.
    """
    checks = [
        _check(fit(cosines[fitting], influence[fitting]), cosines[other], influence[other])
        for fitting, other in two_folds(len(cosines), seed)
    ]
    return CalibrationCheck(*np.mean([dataclasses.astuple(check) for check in checks], axis=0).tolist())


def _check(
    calibration: Calibration, cosines: NDArray[np.float32], influence: NDArray[np.float32]
) -> CalibrationCheck:
    of_queries, truth = calibration.of_queries(cosines), influence.ravel().astype(np.float64)
    expected = of_queries[0].ravel()
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
    """The remainder of an answer that lists the nearest works. cosines: (N,)."""
    order = np.argsort(-cosines)
    expected, positive = (values[0] for values in calibration.of_queries(cosines[None]))
    listed = np.maximum(expected[order[:_LISTED]], 0.0).sum()
    others = positive[order[_LISTED:]].sum()
    return float(others / (listed + others)) if listed + others > 0.0 else 1.0


def _true_remainder(cosines: NDArray[np.float32], influence: NDArray[np.float32]) -> float:
    parts = np.maximum(influence.astype(np.float64), 0.0)
    total = float(parts.sum())
    listed = float(parts[np.argsort(-cosines)[:_LISTED]].sum())
    return 1.0 - listed / total if total > 0.0 else 1.0
