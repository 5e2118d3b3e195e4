"""Fitting of shares as a softmax of cosines, on held-out queries with all works.

Temperature and floor minimise the total variation between the shares and the teacher's. The softmax is kept
where it is nearer to the teacher than the isotonic curves on queries that neither was fitted on.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from creditline.calibration import Calibration
from creditline.calibration.softmax import Softmax
from creditline.distillation.assessment.calibration_fitting import fit_calibration

# Temperature of 0.1, the same for all queries, and a floor of exp(-6).
_START = np.array([-2.3, 0.0, -6.0])
_FIRST_STEP = 0.5
_EVALUATIONS = 100
# Queries times works that are fitted on; fewer queries of a large corpus say as much.
_MOST_PAIRS = 2_000_000
_SEED = 0
_MIN_QUERIES = 16


def fit_shares(cosines: NDArray[np.float32], relative: NDArray[np.float32]) -> Calibration:
    """The isotonic curves, with a softmax where it wins on crossed halves of the queries.

    Labels below 0 say that some works speak against a query, which a softmax cannot: it is then not tried.

    Args:
        cosines: (H, N) float32, of H queries with all N works.
        relative: (H, N) float32, each work's part of its query's positive influence.
    """
    calibration = fit_calibration(cosines, relative)
    if len(cosines) < _MIN_QUERIES or float(relative.min()) < 0.0:
        return calibration
    order = np.random.default_rng(_SEED).permutation(len(cosines))
    halves = order[: len(order) // 2], order[len(order) // 2 :]
    gains = [
        _error(fit_calibration(cosines[fitting], relative[fitting]), cosines[other], relative[other])
        - _error(
            dataclasses.replace(calibration, softmax=fit_softmax(cosines[fitting], relative[fitting])),
            cosines[other],
            relative[other],
        )
        for fitting, other in (halves, halves[::-1])
    ]
    if float(np.mean(gains)) <= 0.0:
        return calibration
    return dataclasses.replace(calibration, softmax=fit_softmax(cosines, relative))


def fit_softmax(cosines: NDArray[np.float32], relative: NDArray[np.float32]) -> Softmax:
    """The softmax whose shares are nearest to the teacher's, by total variation.

    Args:
        cosines: (H, N) float32.
        relative: (H, N) float32, each work's part of its query's influence, 0 or more.
    """
    count = max(_MOST_PAIRS // cosines.shape[1], _MIN_QUERIES)
    cosines, relative = cosines[:count], relative[:count]
    truth = _shares(relative)
    nearest = cosines.max(axis=1, keepdims=True).astype(np.float64)

    def error(values: NDArray[np.float64]) -> float:
        return float(_variation(_shares(_softmax(values).parts(cosines, nearest)), truth).mean())

    simplex = np.stack([_START, *(_START + _FIRST_STEP * step for step in np.eye(len(_START)))])
    options = {"initial_simplex": simplex, "maxfev": _EVALUATIONS, "xatol": 0.01, "fatol": 1e-5}
    found = _softmax(minimize(error, _START, method="Nelder-Mead", options=options).x)
    sums = np.log(found.parts(cosines, nearest).sum(axis=1))
    slope, start = np.polyfit(nearest[:, 0], sums, 1) if np.ptp(nearest) > 0 else (0.0, float(sums.mean()))
    # The line is a mean of logarithms; influence is right on average where the mean of the sums is.
    spread = float(np.log(np.mean(np.exp(sums - slope * nearest[:, 0] - start))))
    return dataclasses.replace(found, log_sum=float(start) + spread, sum_slope=float(slope))


def _softmax(values: NDArray[np.float64]) -> Softmax:
    temperature, slope, floor = (float(value) for value in values)
    return Softmax(temperature, slope, floor, 0.0, 0.0)


def _error(calibration: Calibration, cosines: NDArray[np.float32], relative: NDArray[np.float32]) -> float:
    """Mean total variation between the shares that a calibration gives and the teacher's."""
    _, positive = calibration.of_queries(cosines)
    return float(_variation(_shares(positive), _shares(relative)).mean())


def _shares(influence: NDArray[np.floating]) -> NDArray[np.float64]:
    """Each query's positive influence as parts of its sum: (Q, N)."""
    positive = np.maximum(influence, 0.0).astype(np.float64)
    shares: NDArray[np.float64] = positive / np.maximum(positive.sum(axis=1, keepdims=True), 1e-30)
    return shares


def _variation(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    found: NDArray[np.float64] = np.abs(first - second).sum(axis=1) / 2
    return found
