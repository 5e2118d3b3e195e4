"""Candidates: the works that are labelled for a query, each with its inclusion probability.

The works nearest by raw features are always included, and so are those nearest by a first student; others are
sampled uniformly, so that the labels also cover works without influence. With the inclusion probabilities,
sums over the candidates estimate sums over the whole corpus without bias (Horvitz and Thompson 1952).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from creditline.errors import InvalidInput


@dataclass(frozen=True)
class CandidatePlan:
    """Number of candidates of a query from each source."""

    by_feature: int
    """Works nearest by raw features."""
    by_student: int
    """Works nearest by a first student, among those that are not certain candidates already."""
    at_random: int
    """Works sampled uniformly from those that are not nearest by raw features."""

    @property
    def count(self) -> int:
        """Total number of candidates of a query."""
        return self.by_feature + self.by_student + self.at_random

    def refuse_too_many(self, works: int) -> None:
        """Check that the corpus is large enough.

        Raises:
            InvalidInput: The corpus has fewer works than the plan has candidates.
        """
        if self.count > works:
            raise InvalidInput(
                f"the plan has {self.count} candidates per query, but the corpus has {works} works; lower the"
                " number of candidates, or leave out 'candidates' to label every work",
                field="candidates",
            )


def draw_candidates(
    cosines: NDArray[np.float32], plan: CandidatePlan, seeds: Sequence[int]
) -> NDArray[np.float32]:
    """Draw the candidates of the first round.

    Args:
        cosines: (Q, N) float32, cosines of raw features.
        plan: Number of candidates from each source.
        seeds: One seed for each query.

    Returns:
        (Q, N) float32, inclusion probability of each candidate; 0 for works that are not candidates.

    Raises:
        InvalidInput: The corpus has fewer works than the plan has candidates.
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
    """Add the candidates of the second round: works nearest by the student that are not yet certain.

    They get inclusion probability 1. Works sampled in the first round remain candidates with their
    probability, unless the student selects them too.

    Args:
        inclusion: (Q, N) float32, inclusion probabilities of the first round.
        cosines: (Q, N) float32, cosines by the student.
        by_student: Number of works to add to each query.

    Returns:
        (Q, N) float32, inclusion probabilities.
    """
    more = inclusion.copy()
    for row, (known, near) in enumerate(zip(inclusion, cosines, strict=True)):
        order = np.argsort(-near, kind="stable")
        more[row, order[known[order] < 1.0][:by_student]] = 1.0
    return more


def inclusion_weights(inclusion: NDArray[np.float32]) -> NDArray[np.float32]:
    """Weights of labels: 1 / inclusion probability, 0 for works that are not candidates.

    Args:
        inclusion: (Q, N) float32.

    Returns:
        (Q, N) float32, the number of works that each labelled work represents.
    """
    return np.divide(1.0, inclusion, out=np.zeros_like(inclusion), where=inclusion > 0.0)
