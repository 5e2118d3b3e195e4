"""Candidates: which works are labelled for a query, and with which probability each was drawn.

The nearest by a feature are always among them, those that a first student finds too, and some of all others
at random: without these nobody would learn what has no influence. With the probabilities, sums over the
candidates estimate sums over the whole corpus without bias (Horvitz and Thompson 1952).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from creditline.errors import InvalidInput


@dataclass(frozen=True)
class CandidatePlan:
    """How many are nearest by raw features, how many of the rest by a student, how many random."""

    by_feature: int
    by_student: int
    at_random: int

    @property
    def count(self) -> int:
        return self.by_feature + self.by_student + self.at_random

    def refuse_too_many(self, works: int) -> None:
        """Raises InvalidInput when a corpus has fewer works than there are to be candidates."""
        if self.count > works:
            raise InvalidInput(
                f"{self.count} candidates a query were asked for, the corpus has {works} works; ask for"
                " fewer, or leave candidates out to label every work",
                field="candidates",
            )


def draw_candidates(
    cosines: NDArray[np.float32], plan: CandidatePlan, seeds: Sequence[int]
) -> NDArray[np.float32]:
    """The first round: the probability with which each work is among a query's candidates, 0 if it is not.

    cosines: (Q, N) of raw features; seeds: one for each query. Returns (Q, N). Raises InvalidInput when the
    corpus is too small.
    """
    plan.refuse_too_many(cosines.shape[1])
    return np.stack([_first_round(row, plan, seed) for row, seed in zip(cosines, seeds, strict=True)]).astype(
        np.float32
    )


def _first_round(cosines: NDArray[np.float32], plan: CandidatePlan, seed: int) -> NDArray[np.float64]:
    order = np.argsort(-cosines, kind="stable")
    rest = order[plan.by_feature :]
    drawn = np.random.default_rng(seed).choice(rest, plan.at_random, replace=False)
    inclusion = np.zeros(len(cosines))
    inclusion[drawn] = plan.at_random / max(len(rest), 1)
    inclusion[order[: plan.by_feature]] = 1.0
    return inclusion


def add_by_student(
    inclusion: NDArray[np.float32], cosines: NDArray[np.float32], by_student: int
) -> NDArray[np.float32]:
    """The second round: of the works that are not certain, those nearest by the student become so.

    A random one that was drawn before keeps its place; where the student names it, it was bound to come.
    inclusion, cosines: (Q, N). Returns (Q, N).
    """
    more = inclusion.copy()
    for row, (known, near) in enumerate(zip(inclusion, cosines, strict=True)):
        order = np.argsort(-near, kind="stable")
        more[row, order[known[order] < 1.0][:by_student]] = 1.0
    return more


def weights_of(inclusion: NDArray[np.float32]) -> NDArray[np.float32]:
    """How many works each labelled one stands for: 1 / probability, 0 for those that were not drawn."""
    return np.divide(1.0, inclusion, out=np.zeros_like(inclusion), where=inclusion > 0.0)
