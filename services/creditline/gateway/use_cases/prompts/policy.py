"""What is done with a query whose picture and prompt hardly agree."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from creditline.api.answers import PictureAloneRecall
from creditline.calibration import Calibration
from creditline.calibration.intervals import AnswerIntervals
from creditline.calibration.query_cosines import QueryCosines
from creditline.embedder_client.queries import EmbeddedQuery
from creditline.errors import InvalidInput, NotReady
from creditline.gateway.settings import LowAgreement
from creditline.gateway.use_cases.releases import ServedRelease
from creditline.release import HALVES, IMPUTATION, PROMPT_AGREEMENT, Release


@dataclass(frozen=True, eq=False)
class Reading:
    """How a query is read: with its prompt, or by its picture alone."""

    cosines: QueryCosines
    """Cosines of the vector that is searched for."""
    calibration: Calibration
    """Map from its cosines to expected influence."""
    intervals: AnswerIntervals | None
    """Intervals of such answers."""
    picture_alone: PictureAloneRecall | None = None
    """Recall of answers from pictures alone where this is one; None: the prompt counts."""
    intervals_withheld: bool = False
    """Whether the release has intervals, but none that were fitted on queries like this one."""

    @classmethod
    def of(
        cls,
        vector: NDArray[np.float32],
        release: ServedRelease,
        calibration: Calibration,
        intervals: AnswerIntervals | None,
        picture_alone: PictureAloneRecall | None = None,
    ) -> Reading:
        """Calibration and intervals of a vector, by the cosine of the release's work that is nearest to it.

        Args:
            vector: (D,) float32.
            release: The release, with a sample of its works.
            calibration: Calibration of such answers.
            intervals: Intervals of such answers; None: the release has none.
            picture_alone: Recall of answers from pictures alone where this is one.
        """
        cosines, sample = QueryCosines(vector), release.sample
        fitting = cosines.intervals(intervals, sample) if intervals else None
        withheld = intervals is not None and fitting is None
        return cls(cosines, cosines.calibration(calibration, sample), fitting, picture_alone, withheld)

    @property
    def vector(self) -> NDArray[np.float32]:
        """(D,) float32, the vector that is searched for."""
        return self.cosines.vector


@dataclass(frozen=True)
class PromptPolicy:
    """From which agreement on prompts count, and what is done below it."""

    least: float
    """Agreement of picture and prompt below which `action` is taken; 0: never."""
    action: LowAgreement
    """What is done below it."""

    def check_release(self, release: Release) -> None:
        """Check that a release can be served by this policy.

        Raises:
            NotReady: Answers from pictures alone are asked for, but the release has no calibration for them.
        """
        missing = [name for name in (PROMPT_AGREEMENT, IMPUTATION, HALVES) if name not in release.files]
        if self.action is LowAgreement.PICTURE and missing:
            raise NotReady(
                f"release {release.name!r} has no {missing[0]}, so it cannot answer from pictures alone;"
                " build it again, or set CREDITLINE_LOW_AGREEMENT to answer or refuse",
                field="low_agreement",
            )

    def reading(self, query: EmbeddedQuery, release: ServedRelease, *, private: bool) -> Reading:
        """How to read a query.

        Args:
            query: The query.
            release: The release that answers.
            private: Whether the caller sent a vector, which does not show whether picture and prompt agree.

        Raises:
            InvalidInput: Picture and prompt agree less than the gateway is set to accept, or it is not known.
            NotReady: The embedder does not give the vector of the picture alone.
        """
        if private and self.least > 0.0 and self.action is not LowAgreement.ANSWER:
            raise InvalidInput(
                "this gateway answers only where picture and prompt agree, which a vector does not show; send"
                " the picture with its prompt",
                field="vector",
            )
        agreement = query.prompt_agreement
        if agreement is None or agreement >= self.least or self.action is LowAgreement.ANSWER:
            return Reading.of(query.vector, release, release.calibration, release.intervals)
        if self.action is LowAgreement.REFUSE:
            raise InvalidInput(
                f"the picture does not look as if it was made from this prompt: {agreement:.1%} of genuine"
                f" pairs agree less, and this gateway answers from {self.least:.1%} on; send"
                " the prompt that the picture was made from",
                field="prompt",
            )
        return _picture_alone(query, release)


def _picture_alone(query: EmbeddedQuery, release: ServedRelease) -> Reading:
    halves = release.halves
    if halves is None or query.picture_alone is None:
        raise NotReady(
            "the embedder does not give vectors of pictures alone; update it, or start it with the release"
            " directory of the gateway",
            field="release",
        )
    recall = PictureAloneRecall(**vars(halves.recall))
    return Reading.of(query.picture_alone, release, halves.picture, halves.intervals, recall)
