"""Fitting of what a release knows of the halves of a query: its picture alone, and its prompt alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from creditline.calibration.halves import Halves, PictureRecall
from creditline.calibration.holders import Holders
from creditline.distillation.assessment.held_out import HeldOut, Scores, encoder_cosines
from creditline.distillation.assessment.softmax_fitting import fit_shares
from creditline.distillation.assessment.uncertainty import fit_answer_intervals
from creditline.encoder.encoder import Encoder
from creditline.encoder.imputation import MIN_PAIRS, Imputation
from creditline.evaluation.agreement import recall_at_k
from creditline.evaluation.bootstrap import bootstrap_mean
from creditline.release import HALVES, IMPUTATION

RECALL_DEPTH = 10


@dataclass(frozen=True, eq=False)
class FittedHalves:
    """What an embedder and a gateway need of both halves."""

    imputation: Imputation
    """Estimates one half from the other, for the embedder."""
    calibrations: Halves
    """Calibrations of both halves, for the gateway."""

    def save(self, directory: Path, *, encoder: str = "") -> None:
        """Write both files.

        Args:
            directory: Directory to write to.
            encoder: SHA-256 of the encoder's file that they belong to; empty: not stated.
        """
        replace(self.imputation, encoder=encoder).save(directory / IMPUTATION)
        calibrations = replace(self.calibrations, encoder=encoder)
        (directory / HALVES).write_text(calibrations.to_json() + "\n")

    @classmethod
    def load(cls, directory: Path) -> FittedHalves | None:
        """Read what `save` wrote; None: nothing was."""
        if not (directory / HALVES).is_file():
            return None
        calibrations = Halves.from_json((directory / HALVES).read_text())
        return cls(Imputation.load(directory / IMPUTATION), calibrations)


@dataclass(frozen=True, eq=False)
class HalfCosines:
    """Cosines of held-out queries with all works, by what is known of the queries."""

    both: Scores
    """(H, N) float32, of picture and prompt."""
    picture: Scores
    """(H, N) float32, of the picture alone."""
    prompt: Scores
    """(H, N) float32, of the prompt alone."""

    @classmethod
    def of(cls, encoder: Encoder, imputation: Imputation, held_out: HeldOut) -> HalfCosines:
        """Encode the queries with both halves and with each half alone."""
        queries = held_out.queries
        return cls(
            encoder_cosines(encoder, held_out),
            encoder_cosines(encoder, replace(held_out, queries=imputation.picture_alone(queries))),
            encoder_cosines(encoder, replace(held_out, queries=imputation.prompt_alone(queries))),
        )

    def rows(self, rows: NDArray[np.intp]) -> HalfCosines:
        """The cosines of some of the queries."""
        return HalfCosines(self.both[rows], self.picture[rows], self.prompt[rows])


def fit_halves(
    encoder: Encoder,
    known: NDArray[np.float32],
    held_out: HeldOut,
    holders: Sequence[Holders],
    *,
    seed: int,
) -> FittedHalves | None:
    """Fit imputation and calibrations; None: too few queries, or no picture or no text in the features.

    The imputation is fitted on training queries and works, the calibrations on held-out queries, as the
    ordinary one is.

    Args:
        encoder: The trained encoder.
        known: (Q, F) float32, joined features of the training queries.
        held_out: Held-out queries with all works.
        holders: The people among whom each work's credit is divided.
        seed: Seed of the split into halves.
    """
    parts = held_out.parts
    enough = min(len(known), len(held_out.queries)) >= MIN_PAIRS
    if not (enough and parts.text and parts.image + parts.layout):
        return None
    imputation = Imputation.of(np.concatenate([known, held_out.works]), parts)
    cosines = HalfCosines.of(encoder, imputation, held_out)
    relative = held_out.relative
    calibrations = Halves(
        picture=fit_shares(cosines.picture, relative),
        prompt=fit_shares(cosines.prompt, relative),
        intervals=fit_answer_intervals(cosines.picture, relative, holders, seed=seed),
        recall=_recall(cosines, held_out, seed),
    )
    return FittedHalves(imputation, calibrations)


def _recall(cosines: HalfCosines, held_out: HeldOut, seed: int) -> PictureRecall:
    alone, both = (
        np.array(
            [
                recall_at_k(row, truth, RECALL_DEPTH)
                for row, truth in zip(scores, held_out.influence, strict=True)
            ]
        )
        for scores in (cosines.picture, cosines.both)
    )
    mean = bootstrap_mean(alone, seed=seed)
    return PictureRecall(mean.value, mean.low, mean.high, float(both.mean()))
