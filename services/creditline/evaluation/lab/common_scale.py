"""Fitting of a method's map from scores to expected ΔL on some of the lab's subsets, and its test on others.

The loss of a model trained on a half of the works is modelled as the loss with all works plus the ΔL of each
work that was left out; non-negative least squares then give non-decreasing heights of the map. All subsets
leave out equally many works, so a ΔL that all works have in common cancels: that part is fitted with the
models of all works.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from creditline.attribution.ensembles.consensus import standardised
from creditline.attribution.ensembles.expected_change import KNOTS, ExpectedChange
from creditline.evaluation.bootstrap import Estimate, interval_of
from creditline.evaluation.lab.setting import REFERENCE
from creditline.evaluation.lds import RetrainedModels

_RESAMPLES = 1000
_MAPS = REFERENCE / "expected-change.json"


def fit_expected_change(
    scores: NDArray[np.float64],
    retrained: RetrainedModels,
    *,
    whole_loss: float | None = None,
    comparable: bool = False,
) -> ExpectedChange:
    """Fit the map from a method's scores to expected ΔL.

    Args:
        scores: (Q, N) float64, scores of the works for the queries of `retrained`.
        retrained: Models of half subsets of the works.
        whole_loss: Mean loss of these queries under models of all works; None: the ΔL that all works have in
            common is taken to be 0.
        comparable: Whether the spread of a query's scores has the same meaning for every query, as it has for
            a consensus, where it reflects the agreement of the members.
    """
    spread = float(np.median(scores.std(axis=1))) if comparable else 0.0
    steps = _steps(standardised(scores, spread=spread))
    left_out = 1.0 - retrained.subsets.astype(np.float64)
    design = _centred(np.stack([left_out @ step.T for step in steps], axis=2))
    losses = _centred(retrained.losses.mean(axis=1))
    rises, _ = nnls(design.reshape(-1, design.shape[2]), losses.ravel())
    heights = np.concatenate([[0.0], np.cumsum(rises)])
    fitted = ExpectedChange(KNOTS, tuple(float(height) for height in heights), spread=spread)
    if whole_loss is None:
        return fitted
    works_left_out = float(left_out.sum(axis=1).mean())
    change_per_work = (float(retrained.losses.mean()) - whole_loss) / works_left_out
    common = max(0.0, change_per_work - float(fitted.excess(scores).mean()))
    return ExpectedChange(KNOTS, fitted.heights, common, spread)


def write_maps(maps: Mapping[str, ExpectedChange]) -> None:
    """Write the maps that convert labels to one unit, by method, into the committed reference directory."""
    written = {name: expected.to_json() for name, expected in maps.items()}
    _MAPS.write_text(json.dumps(written, indent=1) + "\n")


def read_maps() -> dict[str, ExpectedChange]:
    """The committed maps by method, which were fitted on all of the lab's subsets."""
    return {
        name: ExpectedChange.from_json(content) for name, content in json.loads(_MAPS.read_text()).items()
    }


def _steps(scores: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """Position of each score within each interval of the knots, clipped to 0 … 1: one (Q, N) per interval."""
    return [np.clip((scores - low) / (high - low), 0.0, 1.0) for low, high in pairwise(KNOTS)]


def predicted_losses(
    expected: ExpectedChange, scores: NDArray[np.float64], subsets: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Predicted rise of each query's loss: the sum of ΔL over the works that each subset leaves out.

    Args:
        expected: The map from scores to expected ΔL.
        scores: (Q, N) scores of the works.
        subsets: (M, N), 1 where subset m holds work n, else 0.

    Returns:
        (M, Q) float64.
    """
    predicted: NDArray[np.float64] = (1.0 - subsets.astype(np.float64)) @ expected.of(scores).T
    return predicted


@dataclass(frozen=True)
class ScaleTest:
    """Agreement of a map's predictions with subsets that the map was not fitted on."""

    slope: Estimate
    """Slope of measured over predicted differences between subsets; 1 where the map is right."""
    explained: float
    """Fraction of the variance of the measured differences that the predictions explain."""
    correlation: float
    """Correlation of predicted and measured differences."""
    ceiling: float
    """Correlation of the differences between the models of two seeds."""


def check_scale(predicted: NDArray[np.float64], retrained: RetrainedModels, *, seed: int) -> ScaleTest:
    """Compare predicted with measured losses; intervals are over subsets and queries together.

    Args:
        predicted: (M, Q) predicted losses for the subsets of `retrained`.
        retrained: Models of subsets that the map was not fitted on, from at least two seeds.
        seed: Seed of the resampling.
    """
    measured = retrained.losses.mean(axis=1)
    random = np.random.default_rng(seed)
    subsets, queries = measured.shape

    def slope(rows: NDArray[np.intp], columns: NDArray[np.intp]) -> float:
        ours, truth = (_centred(values[np.ix_(rows, columns)]) for values in (predicted, measured))
        squares = float(np.square(ours).sum())
        return float((ours * truth).sum()) / squares if squares > 0 else 0.0

    draws = [
        slope(random.integers(subsets, size=subsets), random.integers(queries, size=queries))
        for _ in range(_RESAMPLES)
    ]
    ours, truth = _centred(predicted), _centred(measured)
    return ScaleTest(
        slope=interval_of(slope(np.arange(subsets), np.arange(queries)), draws),
        explained=1.0 - float(np.square(truth - ours).sum() / np.square(truth).sum()),
        correlation=_correlation(ours, truth),
        ceiling=_correlation(_centred(retrained.losses[:, 0]), _centred(retrained.losses[:, 1])),
    )


def _centred(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Values minus the mean of each query (column) over the subsets."""
    return values - values.mean(axis=0)


def _correlation(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    scale = float(np.sqrt(np.square(first).sum() * np.square(second).sum()))
    return float((first * second).sum()) / scale if scale > 0 else 0.0
