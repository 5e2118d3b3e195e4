"""Uncertainty of a release's answers: calibration, intervals, and detectors of odd queries."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from creditline.calibration import Calibration
from creditline.calibration.holders import Division, Holders
from creditline.calibration.intervals import AnswerIntervals, KindOfQueries
from creditline.distillation.assessment.held_out import HeldOut, encoder_cosines
from creditline.distillation.assessment.interval_fitting import (
    NOMINAL_COVERAGE,
    fit_deviation_interval,
    fit_intervals,
)
from creditline.distillation.assessment.softmax_fitting import fit_shares
from creditline.encoder.agreement import MIN_PAIRS, PromptAgreement
from creditline.encoder.encoder import Encoder
from creditline.encoder.ood import MIN_PICTURES, OodDetector

# Lengths of the lists whose remainders are fitted; contributors are those of the middle one.
LISTED = (1, 10, 100)
# Kinds of queries, by the cosine of the nearest work, with intervals of their own: prompts of two titles are
# farther from all works than captions, and the same cosine says less of them. Fewer queries of a kind than
# this give one kind.
_KINDS, _MIN_KIND = 2, 64
# Part of the queries that intervals are fitted on whose nearest work is farther than answers' may be.
_FARTHEST = 0.025


@dataclass(frozen=True, eq=False)
class Uncertainty:
    """What a release states about the uncertainty of its answers."""

    calibration: Calibration
    """Map from cosine to expected influence."""
    intervals: AnswerIntervals
    """Intervals of works, contributors and remainders."""
    ood_detector: OodDetector | None
    """Out-of-distribution detector; None: too few pictures, or features without an image part."""
    prompt_agreement: PromptAgreement | None
    """Agreement of pictures with prompts; None: too few queries, or no image or text part."""


@dataclass(frozen=True, eq=False)
class Sums:
    """Expected and true sums over works of one query, as parts of the query's influence."""

    remainder: NDArray[np.float64]
    """(L,) float64, expected remainder after each length in `LISTED`."""
    true_remainder: NDArray[np.float64]
    """(L,) float64, true remainder after each length in `LISTED`."""
    contributors: NDArray[np.float64]
    """(S,) float64, expected sums of the contributors of the first ten works."""
    true_contributors: NDArray[np.float64]
    """(S,) float64, true sums of the same contributors."""


def fit_uncertainty(
    encoder: Encoder,
    known: NDArray[np.float32],
    held_out: HeldOut,
    holders: Sequence[Holders],
    *,
    seed: int,
) -> Uncertainty:
    """Fit calibration, intervals, out-of-distribution detector and agreement with the prompt.

    Args:
        encoder: The trained encoder.
        known: (Q, F) float32, joined features of the training queries.
        held_out: Held-out queries with all works.
        holders: The people among whom each work's credit is divided.
        seed: Seed of the split into halves, and of the sample of works.
    """
    cosines = encoder_cosines(encoder, held_out)
    image = held_out.parts.slices()["image"]
    enough = min(len(known), len(held_out.queries)) >= MIN_PICTURES and held_out.parts.image > 0
    return Uncertainty(
        fit_shares(cosines, held_out.relative),
        fit_answer_intervals(cosines, held_out.relative, holders, seed=seed),
        OodDetector.of(known[:, image], held_out.queries[:, image]) if enough else None,
        fit_prompt_agreement(known, held_out, seed=seed),
    )


def fit_prompt_agreement(
    known: NDArray[np.float32], held_out: HeldOut, *, seed: int
) -> PromptAgreement | None:
    """Fit the agreement of pictures with prompts; None: too few queries, or no image or text part.

    Args:
        known: (Q, F) float32, joined features of the training queries.
        held_out: Held-out queries with all works.
        seed: Seed of the sample of works that is remembered.
    """
    enough = min(len(known), len(held_out.queries)) >= MIN_PAIRS
    if not (enough and held_out.parts.image and held_out.parts.text):
        return None
    return PromptAgreement.of(known, held_out.works, held_out.queries, held_out.parts, seed=seed)


def fit_answer_intervals(
    cosines: NDArray[np.float32],
    relative: NDArray[np.float32],
    holders: Sequence[Holders],
    *,
    nominal_coverage: float = NOMINAL_COVERAGE,
    seed: int,
) -> AnswerIntervals:
    """Fit the intervals of works, remainders and contributors, for each kind of queries and for all together.

    The expected sums come from a calibration fitted on the other half of the queries.

    Args:
        cosines: (H, N) float32.
        relative: (H, N) float32, each work's part of its query's positive influence.
        holders: The people among whom each work's credit is divided.
        nominal_coverage: Fraction of true values that the intervals cover.
        seed: Seed of the split into halves.
    """
    sums = list(crossed_sums(cosines, relative, holders, seed=seed))
    whole = _intervals_of(cosines, relative, sums, nominal_coverage, seed)
    nearest = cosines.max(axis=1)
    starts = np.quantile(nearest, [_FARTHEST, *np.arange(1, _KINDS) / _KINDS])
    kinds = []
    for number, start in enumerate(starts.tolist()):
        end = starts[number + 1] if number + 1 < len(starts) else np.inf
        rows = np.flatnonzero((nearest >= (start if number else -np.inf)) & (nearest < end))
        if len(rows) < _MIN_KIND:
            return whole
        of_kind = _intervals_of(
            cosines[rows], relative[rows], [sums[row] for row in rows], nominal_coverage, seed
        )
        kinds.append(KindOfQueries(start, of_kind))
    return dataclasses.replace(whole, by_nearest=tuple(kinds))


def _intervals_of(
    cosines: NDArray[np.float32],
    relative: NDArray[np.float32],
    sums: Sequence[Sums],
    nominal_coverage: float,
    seed: int,
) -> AnswerIntervals:
    """The intervals of one kind of queries."""
    return AnswerIntervals(
        fit_intervals(cosines, relative, nominal_coverage=nominal_coverage, seed=seed),
        remainder=fit_deviation_interval(
            [of_query.remainder for of_query in sums],
            [of_query.true_remainder for of_query in sums],
            nominal_coverage=nominal_coverage,
        ),
        contributors=fit_deviation_interval(
            [of_query.contributors for of_query in sums],
            [of_query.true_contributors for of_query in sums],
            nominal_coverage=nominal_coverage,
        ),
    )


def crossed_sums(
    cosines: NDArray[np.float32], relative: NDArray[np.float32], holders: Sequence[Holders], *, seed: int
) -> Iterator[Sums]:
    """Sums of every query, in order, by a calibration that was fitted on the other half of the queries."""
    order = np.random.default_rng(seed).permutation(len(cosines))
    halves = order[: len(order) // 2], order[len(order) // 2 :]
    division = Division.of(holders)
    found: dict[int, Sums] = {}
    for fitting, checking in (halves, halves[::-1]):
        calibration = fit_shares(cosines[fitting], relative[fitting])
        for row in checking:
            found[int(row)] = query_sums(calibration, cosines[row], relative[row], division)
    yield from (found[row] for row in range(len(cosines)))


def query_sums(
    calibration: Calibration,
    cosines: NDArray[np.float32],
    relative: NDArray[np.float32],
    division: Division,
) -> Sums:
    """Sums of one query.

    Args:
        calibration: Calibration that the expected sums come from.
        cosines: (N,) float32.
        relative: (N,) float32, each work's part of the query's positive influence.
        division: How the credit of the N works is divided.
    """
    expected, unlisted = (values[0] for values in calibration.of_queries(cosines[None]))
    return sums_in_order(np.argsort(-cosines), np.maximum(expected, 0.0), unlisted, relative, division)


def sums_in_order(
    order: NDArray[np.intp],
    listed: NDArray[np.float64],
    unlisted: NDArray[np.float64],
    relative: NDArray[np.float32],
    division: Division,
) -> Sums:
    """Sums of one query whose answer lists works in a given order.

    Args:
        order: (N,) rows of the works, the first one listed first.
        listed: (N,) expected influence of each work where it is listed, not negative.
        unlisted: (N,) expected positive influence of each work where it is not.
        relative: (N,) float32, each work's part of the query's positive influence.
        division: How the credit of the N works is divided.
    """
    true = np.maximum(relative.astype(np.float64), 0.0)
    totals = [_total(order, listed, unlisted, length) for length in LISTED]
    among = np.unique(division.numbers[np.isin(division.works, order[: LISTED[1]])])
    earned = division.sums(listed)[0][among] / totals[1]
    return Sums(
        np.array(
            [unlisted[order[length:]].sum() / total for length, total in zip(LISTED, totals, strict=True)]
        ),
        np.array([true[order[length:]].sum() for length in LISTED]),
        np.minimum(earned, 1.0),
        division.sums(true)[0][among],
    )


def _total(
    order: NDArray[np.intp], listed: NDArray[np.float64], unlisted: NDArray[np.float64], length: int
) -> float:
    """Total influence by which an answer of `length` works divides; never 0."""
    return max(float(listed[order[:length]].sum() + unlisted[order[length:]].sum()), 1e-12)
