"""Part of `make distill-figures`: whether the truth lies where answers say, of listed works and of sums.

Everything is fitted on one half of the held-out pictures and looked at on the other, both ways. The other
kind of pictures, to whose prompts no work is close, is judged by what is fitted on all usual ones.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from creditline.calibration.holders import Division, Holders
from creditline.calibration.intervals import AnswerIntervals, DeviationInterval
from creditline.distillation.assessment.calibration_fitting import fit_calibration
from creditline.distillation.assessment.held_out import HeldOut, encoder_cosines
from creditline.distillation.assessment.uncertainty import Sums, fit_answer_intervals, query_sums
from creditline.encoder.encoder import Encoder
from creditline.evaluation.bootstrap import bootstrap_mean
from tests.benchmarks.result_files import Figure

_LISTED = 10


def answer_figures(
    encoder: Encoder, usual: HeldOut, transfer: HeldOut, holders: tuple[Holders, ...], *, seed: int
) -> dict[str, Figure]:
    """Coverage of listed works, of remainders and of contributors' sums, here and on the other kind."""
    cosines, relative = encoder_cosines(encoder, usual), usual.relative
    order = np.random.default_rng(seed).permutation(len(cosines))
    halves = order[: len(order) // 2], order[len(order) // 2 :]
    seen = [
        _covered(cosines, relative, fitting, cosines[looking], relative[looking], holders, seed)
        for fitting, looking in (halves, halves[::-1])
    ]
    covered = {name: np.concatenate([half[name] for half in seen]) for name in seen[0]}
    found = {
        f"coverage_{name}": _figure(values, f"of the 90 % ranges: {_WHAT[name]}", seed)
        for name, values in covered.items()
    }
    others = encoder_cosines(encoder, transfer)
    carried = _covered(cosines, relative, order, others, transfer.relative, holders, seed)
    found |= {
        f"transfer_coverage_{name}": _figure(values, f"of another kind of pictures: {_WHAT[name]}", seed)
        for name, values in carried.items()
    }
    return found


_WHAT = {
    "works": "all works",
    "listed": f"the first {_LISTED} works",
    "remainder": "what remains after 1, 10 and 100 works",
    "contributors": f"sums of all who made one of the first {_LISTED} works",
}


def _covered(
    cosines: NDArray[np.float32],
    relative: NDArray[np.float32],
    fitting: NDArray[np.intp],
    others: NDArray[np.float32],
    truth: NDArray[np.float32],
    holders: tuple[Holders, ...],
    seed: int,
) -> dict[str, NDArray[np.float64]]:
    """The part of each query's ranges that hold the truth: (H,) each."""
    intervals = fit_answer_intervals(cosines[fitting], relative[fitting], holders, seed=seed)
    calibration = fit_calibration(cosines[fitting], relative[fitting])
    division = Division.of(holders)
    sums = [query_sums(calibration, row, true, division) for row, true in zip(others, truth, strict=True)]
    inside = _inside(intervals, others, truth)
    first = np.argsort(-others, axis=1)[:, :_LISTED]
    return {
        "works": inside.mean(axis=1),
        "listed": np.take_along_axis(inside, first, axis=1).mean(axis=1),
        "remainder": _sums_inside(intervals.remainder, sums, "remainder"),
        "contributors": _sums_inside(intervals.contributors, sums, "contributors"),
    }


def _inside(
    intervals: AnswerIntervals, cosines: NDArray[np.float32], truth: NDArray[np.float32]
) -> NDArray[np.float64]:
    low, high = intervals.works.of(cosines)
    found: NDArray[np.float64] = ((low <= truth) & (truth <= high)).astype(np.float64)
    return found


def _sums_inside(stretch: DeviationInterval, sums: list[Sums], name: str) -> NDArray[np.float64]:
    found = []
    for each in sums:
        pairs = zip(getattr(each, name), getattr(each, f"true_{name}"), strict=True)
        ends = [(stretch.of(float(expected)), true) for expected, true in pairs]
        found.append(np.mean([low <= true <= high for (low, high), true in ends]))
    return np.array(found)


def _figure(values: NDArray[np.float64], what: str, seed: int) -> Figure:
    estimate = bootstrap_mean(values, seed=seed)
    return Figure(estimate.value, low=estimate.low, high=estimate.high, what=what)
