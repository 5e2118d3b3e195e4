"""How sure a release is of its answers: calibration, intervals, and what it is familiar with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from creditline.calibration import Calibration
from creditline.calibration.intervals import AnswerIntervals
from creditline.distillation.assessment.calibration_fitting import fit_calibration
from creditline.distillation.assessment.held_out import HeldOut, encoder_cosines
from creditline.distillation.assessment.interval_fitting import NOMINAL_COVERAGE, fit_intervals, fit_stretch
from creditline.encoder.encoder import Encoder
from creditline.encoder.ood import MIN_PICTURES, OodDetector

# Lengths of the lists whose remainders and contributors are looked at.
LISTED = (1, 10, 100)


@dataclass(frozen=True, eq=False)
class Uncertainty:
    """familiar: None where there are too few pictures to tell what is usual."""

    calibration: Calibration
    intervals: AnswerIntervals
    ood_detector: OodDetector | None


@dataclass(frozen=True, eq=False)
class Sums:
    """What answers say of many works at once, beside the truth.

    Of one query: what remains after each length of list, and the sums of all who made one of the first
    works; parts of the query's influence, (S,) each.
    """

    remainder: NDArray[np.float64]
    true_remainder: NDArray[np.float64]
    contributors: NDArray[np.float64]
    true_contributors: NDArray[np.float64]


def fit_uncertainty(
    encoder: Encoder,
    known: NDArray[np.float32],
    held_out: HeldOut,
    contributors: Sequence[str],
    *,
    seed: int,
) -> Uncertainty:
    """Fit on held-out queries.

    known: (Q, F) features of the queries that the encoder was trained on; contributors: whose each work is.
    """
    cosines = encoder_cosines(encoder, held_out)
    image = held_out.parts.slices()["image"]
    enough = min(len(known), len(held_out.queries)) >= MIN_PICTURES and held_out.parts.image > 0
    return Uncertainty(
        fit_calibration(cosines, held_out.relative),
        fit_answer_intervals(cosines, held_out.relative, contributors, seed=seed),
        OodDetector.of(known[:, image], held_out.queries[:, image]) if enough else None,
    )


def fit_answer_intervals(
    cosines: NDArray[np.float32],
    relative: NDArray[np.float32],
    contributors: Sequence[str],
    *,
    nominal_coverage: float = NOMINAL_COVERAGE,
    seed: int,
) -> AnswerIntervals:
    """Sums are those of a calibration that was fitted on the other half of the queries.

    cosines, relative: (H, N), works' cosines and their parts of their query's influence.
    """
    sums = list(crossed_sums(cosines, relative, contributors, seed=seed))
    return AnswerIntervals(
        fit_intervals(cosines, relative, nominal_coverage=nominal_coverage, seed=seed),
        remainder=fit_stretch(
            [each.remainder for each in sums],
            [each.true_remainder for each in sums],
            nominal_coverage=nominal_coverage,
        ),
        contributors=fit_stretch(
            [each.contributors for each in sums],
            [each.true_contributors for each in sums],
            nominal_coverage=nominal_coverage,
        ),
    )


def crossed_sums(
    cosines: NDArray[np.float32], relative: NDArray[np.float32], contributors: Sequence[str], *, seed: int
) -> Iterator[Sums]:
    """Every query's sums, by a calibration that it was not fitted on."""
    order = np.random.default_rng(seed).permutation(len(cosines))
    halves = order[: len(order) // 2], order[len(order) // 2 :]
    people = np.unique(np.array(contributors), return_inverse=True)[1]
    for fitting, looking in (halves, halves[::-1]):
        calibration = fit_calibration(cosines[fitting], relative[fitting])
        for row in looking:
            yield query_sums(calibration, cosines[row], relative[row], people)


def query_sums(
    calibration: Calibration,
    cosines: NDArray[np.float32],
    relative: NDArray[np.float32],
    people: NDArray[np.intp],
) -> Sums:
    """Sums of one query. cosines, relative: (N,); people: (N,), the number of each work's contributor."""
    order = np.argsort(-cosines)
    listed = np.maximum(calibration.expected_influence(cosines), 0.0)
    unlisted = calibration.expected_positive(cosines)
    true = np.maximum(relative.astype(np.float64), 0.0)
    totals = [_total(order, listed, unlisted, length) for length in LISTED]
    among = np.unique(people[order[: LISTED[1]]])
    earned = np.bincount(people, weights=listed)[among] / totals[1]
    return Sums(
        np.array(
            [unlisted[order[length:]].sum() / total for length, total in zip(LISTED, totals, strict=True)]
        ),
        np.array([true[order[length:]].sum() for length in LISTED]),
        np.minimum(earned, 1.0),
        np.bincount(people, weights=true)[among].astype(np.float64),
    )


def _total(
    order: NDArray[np.intp], listed: NDArray[np.float64], unlisted: NDArray[np.float64], length: int
) -> float:
    """What an answer with so many lines takes for the whole; never 0."""
    return max(float(listed[order[:length]].sum() + unlisted[order[length:]].sum()), 1e-12)
