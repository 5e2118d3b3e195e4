"""Shares that a softmax made are found again, and it is kept only where it wins."""

from __future__ import annotations

import numpy as np

from creditline.calibration.softmax import Softmax
from creditline.distillation.assessment.calibration_fitting import relative_influence
from creditline.distillation.assessment.softmax_fitting import fit_shares, fit_softmax

_RANDOM = np.random.default_rng(11)
# Queries differ in how near their nearest work is, as prompts of captions and of two titles do.
_NEAREST = _RANDOM.uniform(0.4, 0.95, (48, 1))
_COSINES = np.minimum(_RANDOM.normal(0.1, 0.12, (48, 60)), _NEAREST).astype(np.float32)
_COSINES[:, 0] = _NEAREST[:, 0]


def _relative(softmax: Softmax) -> np.ndarray:
    parts = softmax.parts(_COSINES, _COSINES.max(axis=1, keepdims=True))
    return relative_influence(parts.astype(np.float32))


def test_temperature_floor_and_sum_are_found() -> None:
    truth = _relative(Softmax(np.log(0.08), 0.5, -4.0, 0.0, 0.0))
    found = fit_softmax(_COSINES, truth)
    parts = found.parts(_COSINES, _COSINES.max(axis=1, keepdims=True))
    shares = parts / parts.sum(axis=1, keepdims=True)
    assert np.abs(shares - truth).sum(axis=1).mean() / 2 < 0.02
    # The sum is 1 on average, wherever the nearest work is.
    slope = np.polyfit(_COSINES.max(axis=1), np.log(parts.sum(axis=1)), 1)[0]
    assert abs(slope) < 1e-3
    assert abs(parts.sum(axis=1).mean() - 1.0) < 1e-3


def test_a_softmax_is_kept_where_shares_depend_on_the_nearest_work() -> None:
    calibration = fit_shares(_COSINES, _relative(Softmax(np.log(0.08), 0.5, -4.0, 0.0, 0.0)))
    assert calibration.softmax is not None


def test_curves_are_kept_where_a_step_of_the_cosine_makes_the_shares() -> None:
    steps = np.where(_COSINES > 0.2, 1.0, 0.0).astype(np.float32)
    assert fit_shares(_COSINES, relative_influence(steps)).softmax is None


def test_labels_below_zero_are_left_to_the_curves() -> None:
    relative = _relative(Softmax(np.log(0.08), 0.5, -4.0, 0.0, 0.0)).copy()
    relative[0, 5] = -0.01
    assert fit_shares(_COSINES, relative).softmax is None
