"""Calibration of re-ranked answers: from the gradient kernel's scores to expected influence.

The encoder finds the candidates, and the kernel orders them. Their expected influence has curves of its own;
all other works keep that of their cosine.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from creditline.calibration.curve import Calibration
from creditline.calibration.intervals import AnswerIntervals
from creditline.calibration.remainder import ContributorInfluence, UnlistedInfluence
from creditline.calibration.shares import Group
from creditline.errors import InvalidInput

CANDIDATES = 400
"""Number of works that are re-ranked where nothing else is asked for."""


@dataclass(frozen=True)
class Reranking:
    """What a release knows of re-ranked answers."""

    calibration: Calibration
    """From the order of a work (`order_of`) to its expected influence."""
    intervals: AnswerIntervals
    """Intervals of re-ranked answers, those of works by their order."""
    cosine_weight: float
    """Weight of the cosine in the order."""
    candidates: int
    """Number of works that were re-ranked when it was fitted."""
    rows: str = ""
    """SHA-256 of the file of rows that it was fitted for; empty: not stated."""
    encoder: str = ""
    """SHA-256 of the encoder's file that it was fitted for; empty: not stated."""

    def order_of(self, kernel: ArrayLike, cosines: ArrayLike) -> NDArray[np.float64]:
        """By what works are ordered, the largest first.

        Args:
            kernel: The kernel's scores, of any shape.
            cosines: The works' cosines, of the same shape.

        Returns:
            float64 of the same shape: the kernel's score, and the cosine by its weight.
        """
        return np.asarray(kernel, np.float64) + self.cosine_weight * np.asarray(cosines, np.float64)

    def to_json(self) -> str:
        """Everything as one JSON object, with the names of the fields."""
        parts = {name: json.loads(getattr(self, name).to_json()) for name in ("calibration", "intervals")}
        return json.dumps({**vars(self), **parts})

    @classmethod
    def from_json(cls, text: str | bytes) -> Reranking:
        """Parse the output of `to_json`.

        Raises:
            InvalidInput: The text is no calibration of re-ranked answers.
        """
        try:
            content: dict[str, Any] = json.loads(text)
            return cls(
                Calibration.from_json(json.dumps(content["calibration"])),
                AnswerIntervals.from_json(json.dumps(content["intervals"])),
                float(content["cosine_weight"]),
                int(content["candidates"]),
                str(content["rows"]),
                str(content["encoder"]),
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InvalidInput(
                f"the text is not a calibration of re-ranked answers ({error}); fit it again", field="rerank"
            ) from error


def with_candidates(
    others: UnlistedInfluence, candidates: Sequence[Group], positive: Mapping[str, float]
) -> UnlistedInfluence:
    """Influence of all works that are not listed: candidates by their own curves, and all others.

    Args:
        others: Influence of the works that are no candidates.
        candidates: Duplicate groups of the candidates that are not listed.
        positive: Expected positive influence of each candidate, by work id.
    """
    members = [member for group in candidates for member in group.members]
    parts = np.array([positive[member.work_id] for member in members], dtype=np.float64)
    earned = dict(others.earned)
    for member in members:
        for person, fraction in member.holders:
            before = earned.get(person, ContributorInfluence(0.0))
            earned[person] = replace(before, influence=before.influence + member.part * fraction)
    return UnlistedInfluence(
        others.influence + float(parts.sum()),
        others.squares + float(np.square(parts).sum()),
        others.works + len(members),
        earned,
    )
