"""The content of a credit line, from which all renderings are made."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from dataclasses import dataclass

from PIL import Image

from creditline.api.answers import (
    AttributionAnswer,
    AuditAnswer,
    AuditedAccuracy,
    CreditedContributor,
    CreditedWork,
    ReleaseSummary,
)
from creditline.errors import InvalidInput
from creditline.pictures.decoding import decode

# Tolerance of the sum of shares and remainder.
_SUM_TOLERANCE = 1e-6


@dataclass(frozen=True)
class Query:
    """A generated picture with its prompt, generator and seed."""

    picture: bytes | None
    """The picture as a file; None for a private query that is shown where its picture is not."""
    prompt: str
    """Prompt of the picture; empty where the picture is None."""
    generator: str
    """Fingerprint of the generator."""
    seed: int | None = None
    """Seed of the picture; None if unknown."""

    @property
    def sha256(self) -> str | None:
        """SHA-256 of the file: 64 hex digits; None without one."""
        return None if self.picture is None else hashlib.sha256(self.picture).hexdigest()

    def image(self) -> Image.Image | None:
        """The picture, decoded to RGB; None where there is none."""
        return None if self.picture is None else Image.open(io.BytesIO(self.picture)).convert("RGB")


@dataclass(frozen=True)
class CreditLine:
    """The answer to one query with everything that is shown with it.

    A work that was withdrawn after the answer is shown without its thumbnail.

    Raises:
        InvalidInput: Shares and remainder do not sum to 1, or the thumbnail of a work that is not withdrawn
            is missing.
    """

    query: Query
    """The generated picture."""
    answer: AttributionAnswer
    """The answer, as it was served."""
    thumbnails: Mapping[str, bytes]
    """Thumbnails of the works by id, as WebP files."""
    accuracy: AuditedAccuracy
    """Accuracy of the release, from its audits so far."""
    audit: AuditAnswer | None = None
    """The audit of this answer; None if none was requested."""
    undelivered: bool = False
    """Whether the caller who asked left before the answer was sent."""

    def __post_init__(self) -> None:
        total = sum(work.share for work in self.works) + self.remainder
        if abs(total - 1.0) > _SUM_TOLERANCE:
            raise InvalidInput(f"shares and remainder sum to {total:.8f} instead of 1", field="works.share")
        missing = [work.id for work in self.works if not work.withdrawn and work.id not in self.thumbnails]
        if missing:
            raise InvalidInput(
                f"the thumbnails of {', '.join(missing)} are missing; fetch them from the gateway",
                field="thumbnails",
            )

    @property
    def works(self) -> tuple[CreditedWork, ...]:
        """The listed works, in the order of their ranks."""
        return self.answer.works

    @property
    def contributors(self) -> tuple[CreditedContributor, ...]:
        """The credited contributors."""
        return self.answer.contributors

    @property
    def remainder(self) -> float:
        """Share of all works that are not listed."""
        return self.answer.remainder

    @property
    def release(self) -> ReleaseSummary:
        """The release that gave the answer."""
        return self.answer.release

    @property
    def largest_share(self) -> float:
        """The largest share of a listed work; 1 if no work has a share."""
        return max((work.share for work in self.works), default=0.0) or 1.0

    @property
    def corpus_works(self) -> int:
        """Number of works that share the influence; that of the release if the answer does not state it."""
        return self.answer.corpus_works or self.release.works

    @property
    def other_works(self) -> int:
        """Number of works that are not listed, to which the remainder belongs."""
        listed = sum(1 + len(work.copies) for work in self.works)
        return max(0, self.corpus_works - listed)

    @property
    def owes_nobody(self) -> bool:
        """Whether no listed work has a share."""
        return all(work.share <= 0 for work in self.works)

    def shows(self, work: CreditedWork) -> bool:
        """Whether a thumbnail is shown: not of a withdrawn work, nor of one without a picture."""
        return not work.withdrawn and bool(self.thumbnails[work.id])

    def image_of(self, work: CreditedWork) -> Image.Image | None:
        """The work's thumbnail, decoded to RGB; None if none is shown."""
        if not self.shows(work):
            return None
        return decode(self.thumbnails[work.id], field="thumbnail", name=f"the thumbnail of work {work.id!r}")
