"""Fits a method's map to expected ΔL on some of the lab's subsets, and tests it on others.

A half subset's loss is taken to be that of all works plus the ΔL of every work that it left out; least
squares then give the map's heights, none falling. Subsets all leave out as many works, so that what any work
is worth cancels: that part comes from models of all works.
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
from creditline.evaluation.lds import Retrained

_RESAMPLES = 1000
_MAPS = REFERENCE / "expected-change.json"


def fit_expected_change(
    scores: NDArray[np.float64],
    retrained: Retrained,
    *,
    whole_loss: float | None = None,
    comparable: bool = False,
) -> ExpectedChange:
    """scores: (Q, N), of the queries of `retrained`; whole_loss: their mean loss under models of all works.

    Where `whole_loss` is not given, what any work is worth is taken to be 0. comparable: whether how far a
    query's scores spread means the same for every query, as it does for a consensus: its members agree.
    """
    spread = float(np.median(scores.std(axis=1))) if comparable else 0.0
    steps = _steps(standardised(scores, spread=spread))
    left_out = 1.0 - retrained.subsets.astype(np.float64)
    design = _centred(np.stack([left_out @ step.T for step in steps], axis=2))
    losses = _centred(retrained.losses.mean(axis=1))
    rises, _ = nnls(design.reshape(-1, design.shape[2]), losses.ravel())
    heights = np.concatenate([[0.0], np.cumsum(rises)])
    found = ExpectedChange(KNOTS, tuple(float(height) for height in heights), spread=spread)
    if whole_loss is None:
        return found
    gone = float(left_out.sum(axis=1).mean())
    of_a_work = (float(retrained.losses.mean()) - whole_loss) / gone
    common = max(0.0, of_a_work - float(found.excess(scores).mean()))
    return ExpectedChange(KNOTS, found.heights, common, spread)


def write_maps(maps: Mapping[str, ExpectedChange]) -> None:
    """The maps that labels are brought into one unit by, by method."""
    written = {name: expected.to_json() for name, expected in maps.items()}
    _MAPS.write_text(json.dumps(written, indent=1) + "\n")


def read_maps() -> dict[str, ExpectedChange]:
    """What `write_maps` wrote: fitted on all of the lab's subsets."""
    return {
        name: ExpectedChange.from_json(content) for name, content in json.loads(_MAPS.read_text()).items()
    }


def _steps(scores: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """How far each score is through each stretch between knots, 0 to 1: one (Q, N) a stretch."""
    return [np.clip((scores - low) / (high - low), 0.0, 1.0) for low, high in pairwise(KNOTS)]


def predicted_losses(
    expected: ExpectedChange, scores: NDArray[np.float64], subsets: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The sum of ΔL over the works that each subset left out: (M, Q)."""
    predicted: NDArray[np.float64] = (1.0 - subsets.astype(np.float64)) @ expected.of(scores).T
    return predicted


@dataclass(frozen=True)
class UnitTest:
    """A map on subsets that it was not fitted on.

    slope: of measured over foretold differences between subsets, 1 where the map is right; explained: the
    part of their variance that it explains; correlation: of both; ceiling: of one seed with the other.
    """

    slope: Estimate
    explained: float
    correlation: float
    ceiling: float


def unit_test(predicted: NDArray[np.float64], retrained: Retrained, *, seed: int) -> UnitTest:
    """foretold: (M, Q), for the subsets of `retrained`. Intervals over subsets and queries together."""
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
    return UnitTest(
        slope=interval_of(slope(np.arange(subsets), np.arange(queries)), draws),
        explained=1.0 - float(np.square(truth - ours).sum() / np.square(truth).sum()),
        correlation=_correlation(ours, truth),
        ceiling=_correlation(_centred(retrained.losses[:, 0]), _centred(retrained.losses[:, 1])),
    )


def _centred(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Each query's, less its mean over the subsets."""
    return values - values.mean(axis=0)


def _correlation(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    scale = float(np.sqrt(np.square(first).sum() * np.square(second).sum()))
    return float((first * second).sum()) / scale if scale > 0 else 0.0
