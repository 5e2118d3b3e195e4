"""What a credit line says: one frozen value that every rendering is made from."""

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

# Shares and the remainder are parts of one whole.
_SUM_TOLERANCE = 1e-6


@dataclass(frozen=True)
class Query:
    """The generated picture, a PNG file, and what it was made from."""

    picture: bytes
    prompt: str
    generator: str
    seed: int | None = None

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.picture).hexdigest()

    def image(self) -> Image.Image:
        return Image.open(io.BytesIO(self.picture)).convert("RGB")


@dataclass(frozen=True)
class CreditLine:
    """The answer to one query, the thumbnails of its works by id (WebP files), what audits of the release
    found so far, and the audit of this very answer where one was asked for.

    A work that has been withdrawn since is shown without its thumbnail. Raises InvalidInput when shares and
    remainder are not parts of one whole, or another thumbnail is missing.
    """

    query: Query
    answer: AttributionAnswer
    thumbnails: Mapping[str, bytes]
    accuracy: AuditedAccuracy
    audit: AuditAnswer | None = None

    def __post_init__(self) -> None:
        total = sum(work.share for work in self.works) + self.remainder
        if abs(total - 1.0) > _SUM_TOLERANCE:
            raise InvalidInput(f"shares and remainder sum to {total:.8f} instead of 1", field="works.share")
        missing = [work.id for work in self.works if not work.withdrawn and work.id not in self.thumbnails]
        if missing:
            raise InvalidInput(f"there is no thumbnail of {', '.join(missing)}", field="thumbnails")

    @property
    def works(self) -> tuple[CreditedWork, ...]:
        return self.answer.works

    @property
    def contributors(self) -> tuple[CreditedContributor, ...]:
        return self.answer.contributors

    @property
    def remainder(self) -> float:
        return self.answer.remainder

    @property
    def release(self) -> ReleaseSummary:
        return self.answer.release

    @property
    def largest_share(self) -> float:
        """The longest bar's share; 1 where nobody has one."""
        return max((work.share for work in self.works), default=0.0) or 1.0

    @property
    def corpus_works(self) -> int:
        """Number of works that share the influence; those of the release where the answer does not say."""
        return self.answer.corpus_works or self.release.works

    @property
    def other_works(self) -> int:
        """Number of works of the corpus that are not listed, which the remainder is of."""
        listed = sum(1 + len(work.copies) for work in self.works)
        return max(0, self.corpus_works - listed)

    @property
    def owes_nobody(self) -> bool:
        """Whether no listed work has a share."""
        return all(work.share <= 0 for work in self.works)

    def image_of(self, work: CreditedWork) -> Image.Image | None:
        """The work's thumbnail, decoded to RGB; None when the work has been withdrawn."""
        if work.withdrawn:
            return None
        return Image.open(io.BytesIO(self.thumbnails[work.id])).convert("RGB")
