"""Figures of both halves of a query: how good a picture alone is, and how shares divide under swaps.

All calibrations are fitted on one half of the held-out queries and judged on the other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from creditline.calibration import Calibration
from creditline.calibration.halves import divided
from creditline.distillation.assessment.calibration_fitting import check_calibration
from creditline.distillation.assessment.folds import two_folds
from creditline.distillation.assessment.halves_fitting import RECALL_DEPTH, HalfCosines
from creditline.distillation.assessment.held_out import HeldOut, Scores, encoder_cosines
from creditline.distillation.assessment.interval_fitting import coverage, fit_intervals
from creditline.distillation.assessment.prompt_swaps import other_queries
from creditline.distillation.assessment.softmax_fitting import fit_shares
from creditline.encoder.encoder import Encoder
from creditline.encoder.imputation import Imputation
from creditline.evaluation.agreement import ndcg_at_k, recall_at_k, spearman
from creditline.evaluation.bootstrap import Estimate, bootstrap_mean

_NDCG_DEPTH = 100
_LISTED = 10
# Swaps over which the effect of a swap is averaged, for each query and half.
_SWAPS = 8


@dataclass(frozen=True)
class HalfCalibrations:
    """Curves from cosine to expected influence, by what is known of a query."""

    both: Calibration
    """Of picture and prompt."""
    picture: Calibration
    """Of the picture alone."""
    prompt: Calibration
    """Of the prompt alone."""

    @classmethod
    def of(cls, cosines: HalfCosines, relative: NDArray[np.float32]) -> HalfCalibrations:
        """Fit all three on the same queries."""
        return cls(*(fit_shares(each, relative) for each in (cosines.both, cosines.picture, cosines.prompt)))


@dataclass(frozen=True, eq=False)
class DividedAnswers:
    """The shares of the works that answers list, and their parts: Q queries, L listed works each."""

    listed: NDArray[np.intp]
    """(Q, L), rows of the works."""
    share: NDArray[np.float64]
    """(Q, L), shares."""
    from_picture: NDArray[np.float64]
    """(Q, L), parts from the picture."""
    from_prompt: NDArray[np.float64]
    """(Q, L), parts from the prompt."""

    @property
    def prompt_part(self) -> NDArray[np.float64]:
        """The part of all listed shares that is from the prompt: (Q,)."""
        return _part_of(self, self.from_prompt)


def divided_answers(calibrations: HalfCalibrations, cosines: HalfCosines) -> DividedAnswers:
    """List the nearest works of each query and divide their shares between picture and prompt."""
    listed = np.argsort(-cosines.both, axis=1)[:, :_LISTED]
    share = _shares(calibrations.both, cosines.both, listed)
    parts = divided(
        share,
        _shares(calibrations.picture, cosines.picture, listed),
        _shares(calibrations.prompt, cosines.prompt, listed),
    )
    return DividedAnswers(listed, share, *parts)


def _shares(calibration: Calibration, cosines: Scores, listed: NDArray[np.intp]) -> NDArray[np.float64]:
    """Shares of listed works: (Q, N) cosines and (Q, L) rows -> (Q, L)."""
    expected, positive = calibration.of_queries(cosines)
    parts = np.maximum(np.take_along_axis(expected, listed, axis=1), 0.0)
    others = positive.sum(axis=1) - np.take_along_axis(positive, listed, axis=1).sum(axis=1)
    total = parts.sum(axis=1) + others
    shares: NDArray[np.float64] = parts / np.maximum(total, 1e-12)[:, None]
    return shares


def halves_figures(
    encoder: Encoder, imputation: Imputation, held_out: HeldOut, *, seed: int
) -> dict[str, Estimate]:
    """Figures of pictures alone and of the division of shares, by their benchmark names.

    Args:
        encoder: The encoder.
        imputation: The imputation, fitted on other queries.
        held_out: Held-out queries with all works.
        seed: Seed of halves, swaps and bootstrap.
    """
    cosines = HalfCosines.of(encoder, imputation, held_out)
    return {
        **_picture_figures(cosines, held_out, seed),
        **_division_figures(encoder, imputation, held_out, cosines, seed),
    }


def _picture_figures(cosines: HalfCosines, held_out: HeldOut, seed: int) -> dict[str, Estimate]:
    """Answers from pictures alone beside ordinary ones."""
    check = check_calibration(cosines.picture, held_out.relative, seed=seed, fit=fit_shares)
    figures = {
        "picture_alone_remainder": Estimate.certain(check.remainder),
        "picture_alone_remainder_true": Estimate.certain(check.remainder_true),
        "picture_alone_calibration_error": Estimate.certain(check.error),
        "picture_alone_coverage": bootstrap_mean(
            _coverage(cosines.picture, held_out.relative, seed), seed=seed
        ),
    }
    for name, scores in (
        ("picture_alone", cosines.picture),
        ("prompt_alone", cosines.prompt),
        ("picture_and_prompt", cosines.both),
    ):
        pairs = list(zip(scores, held_out.influence, strict=True))
        ndcg = [ndcg_at_k(row, truth, _NDCG_DEPTH) for row, truth in pairs]
        recall = [recall_at_k(row, truth, RECALL_DEPTH) for row, truth in pairs]
        figures[f"{name}_ndcg100"] = bootstrap_mean(ndcg, seed=seed)
        figures[f"{name}_recall10"] = bootstrap_mean(recall, seed=seed)
    return figures


def _coverage(cosines: Scores, relative: NDArray[np.float32], seed: int) -> NDArray[np.float64]:
    """Part of each query's works in intervals that were fitted on the other half of the queries: (H,)."""
    inside = np.empty(len(cosines))
    for fitting, judged in two_folds(len(cosines), seed):
        band = fit_intervals(cosines[fitting], relative[fitting], seed=seed)
        inside[judged] = coverage(band, cosines[judged], relative[judged])
    return inside


@dataclass(frozen=True, eq=False)
class _Controls:
    """Results of the controls, one number per query unless said."""

    genuine: NDArray[np.float64]
    """Part from the prompt of genuine queries."""
    swapped: NDArray[np.float64]
    """Part from the prompt where the prompt is another query's."""
    auroc: NDArray[np.float64]
    """In such queries: how surely works of the picture's genuine answer have a greater part from the picture
    than works of the prompt's genuine answer; NaN where only one of the two is listed."""
    by_swaps: NDArray[np.float64]
    """Part from the prompt of genuine queries, by what swaps of either half do to the shares."""
    correlation: NDArray[np.float64]
    """Spearman correlation over the listed works of the parts from the prompt, as divided and by swaps."""


def _division_figures(
    encoder: Encoder, imputation: Imputation, held_out: HeldOut, cosines: HalfCosines, seed: int
) -> dict[str, Estimate]:
    rng, count = np.random.default_rng(seed), len(held_out.queries)
    results = []
    for fitting, judged in two_folds(count, seed):
        calibrations = HalfCalibrations.of(cosines.rows(fitting), held_out.relative[fitting])
        some = replace(
            held_out,
            queries=held_out.queries[judged],
            influence=held_out.influence[judged],
            influence_repeat=None,
        )
        results.append(_controls(encoder, imputation, some, calibrations, rng))
    joined = {
        name: np.concatenate([getattr(result, name) for result in results])
        for name in _Controls.__dataclass_fields__
    }
    telling = _known(joined["auroc"])
    return {
        "prompt_part": bootstrap_mean(joined["genuine"], seed=seed),
        "prompt_part_swapped": bootstrap_mean(joined["swapped"], seed=seed),
        "prompt_part_by_swaps": bootstrap_mean(joined["by_swaps"], seed=seed),
        "prompt_part_correlation": bootstrap_mean(_known(joined["correlation"]), seed=seed),
        **({"prompt_part_auroc": bootstrap_mean(telling, seed=seed)} if len(telling) else {}),
        "prompt_part_auroc_queries": Estimate.certain(float(len(telling))),
    }


def _known(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return values[np.isfinite(values)]


def _controls(
    encoder: Encoder,
    imputation: Imputation,
    held_out: HeldOut,
    calibrations: HalfCalibrations,
    rng: np.random.Generator,
) -> _Controls:
    def of(queries: NDArray[np.float32]) -> DividedAnswers:
        asked = HalfCosines.of(encoder, imputation, replace(held_out, queries=queries))
        return divided_answers(calibrations, asked)

    queries, text = held_out.queries, held_out.parts.slices()["text"]
    genuine, other = of(queries), other_queries(len(queries), rng)
    mixed = of(_with_texts(queries, queries[other], text))
    by_swaps = _Swaps(encoder, held_out, queries, rng).parts(calibrations.both, genuine)
    return _Controls(
        genuine.prompt_part,
        mixed.prompt_part,
        np.array(
            [
                _auroc(mixed, row, set(genuine.listed[row]), set(genuine.listed[other[row]]))
                for row in range(len(queries))
            ]
        ),
        _part_of(genuine, by_swaps),
        np.array([spearman(*pair) for pair in zip(genuine.from_prompt, by_swaps, strict=True)]),
    )


def _with_texts(
    queries: NDArray[np.float32], others: NDArray[np.float32], text: slice
) -> NDArray[np.float32]:
    """The queries with the prompts of others."""
    mixed = queries.copy()
    mixed[:, text] = others[:, text]
    return mixed


def _auroc(answers: DividedAnswers, row: int, picture: set[int], prompt: set[int]) -> float:
    """How often a listed work of the picture's own answer has the greater relative part from the picture."""
    part = answers.from_picture[row] / np.maximum(answers.share[row], 1e-12)
    named = answers.listed[row].tolist()
    first = part[[work in picture - prompt for work in named]]
    second = part[[work in prompt - picture for work in named]]
    if not (len(first) and len(second)):
        return float("nan")
    higher = (first[:, None] > second).mean() + (first[:, None] == second).mean() / 2.0
    return float(higher)


@dataclass(frozen=True)
class _Swaps:
    """What swaps of either half do to the shares of listed works."""

    encoder: Encoder
    """The encoder."""
    asked: HeldOut
    """The queries whose halves are swapped, with all works."""
    donors: NDArray[np.float32]
    """(M, F), queries that other halves are taken from."""
    rng: np.random.Generator
    """Draws the other halves."""

    def parts(self, both: Calibration, answers: DividedAnswers) -> NDArray[np.float64]:
        """Parts from the prompt where the worth of a half is its mean share beside other halves: (Q, L)."""
        queries, text = self.asked.queries, self.asked.parts.slices()["text"]
        worth = np.zeros((2, *answers.share.shape))
        for _ in range(_SWAPS):
            offsets = self.rng.integers(1, len(self.donors), len(queries))
            others = self.donors[(np.arange(len(queries)) + offsets) % len(self.donors)]
            swapped = _with_texts(queries, others, text), _with_texts(others, queries, text)
            for half, mixed in enumerate(swapped):
                cosines = encoder_cosines(self.encoder, replace(self.asked, queries=mixed))
                worth[half] += _shares(both, cosines, answers.listed) / _SWAPS
        return divided(answers.share, worth[0], worth[1])[1]


def prompt_part_figures(
    encoder: Encoder,
    imputation: Imputation,
    held_out: HeldOut,
    queries: Mapping[str, NDArray[np.float32]],
    *,
    seed: int,
) -> dict[str, Estimate]:
    """Part of the listed shares that is from the prompt, of queries of other kinds, as divided and by swaps.

    Args:
        encoder: The encoder.
        imputation: The imputation.
        held_out: Usual held-out queries, on which the calibrations are fitted, and which swaps take from.
        queries: (Q, F) float32, joined features of the queries of each kind.
        seed: Seed of swaps and bootstrap.
    """
    calibrations = HalfCalibrations.of(HalfCosines.of(encoder, imputation, held_out), held_out.relative)
    figures = {}
    for kind, odd in queries.items():
        asked = replace(held_out, queries=odd)
        answers = divided_answers(calibrations, HalfCosines.of(encoder, imputation, asked))
        swaps = _Swaps(encoder, asked, held_out.queries, np.random.default_rng(seed))
        figures[f"prompt_part_{kind}"] = bootstrap_mean(answers.prompt_part, seed=seed)
        by_swaps = _part_of(answers, swaps.parts(calibrations.both, answers))
        figures[f"prompt_part_{kind}_by_swaps"] = bootstrap_mean(by_swaps, seed=seed)
    return figures


def _part_of(answers: DividedAnswers, parts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sum of parts of listed shares over the sum of these shares: (Q, L) -> (Q,)."""
    part: NDArray[np.float64] = parts.sum(axis=1) / np.maximum(answers.share.sum(axis=1), 1e-12)
    return part
