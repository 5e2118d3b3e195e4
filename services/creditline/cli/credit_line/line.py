"""What a credit line says: one frozen value that every rendering is made from."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from PIL import Image

from creditline.errors import InvalidInput

# Shares and the remainder are parts of one whole.
_SUM_TOLERANCE = 1e-6


@dataclass(frozen=True)
class Query:
    """The generated picture and what it was made from. `picture` is a PNG file."""

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
class CreditedWork:
    """A listed work. `share` is its group's part of the query's influence, `thumbnail` a WebP file."""

    rank: int
    id: str
    title: str
    caption: str
    contributor: str
    licence: str
    score: float
    share: float
    thumbnail: bytes
    copies: tuple[str, ...] = ()

    def image(self) -> Image.Image:
        return Image.open(io.BytesIO(self.thumbnail)).convert("RGB")


@dataclass(frozen=True)
class CreditedContributor:
    """A contributor's shares, summed over the listed works."""

    name: str
    share: float
    works: int


@dataclass(frozen=True)
class ReleaseFacts:
    """The release that answered; fingerprints are 64 hex digits."""

    name: str
    created: datetime
    generator_fingerprint: str
    corpus_fingerprint: str
    towers_fingerprint: str
    width: int
    works: int
    collection: str


@dataclass(frozen=True)
class Accuracy:
    """What audits found of the release's answers so far; the numbers are None while there is no audit."""

    audits: int
    recall: float | None = None
    recall_low: float | None = None
    recall_high: float | None = None
    missed_influence: float | None = None


@dataclass(frozen=True)
class Estimate:
    """A number with its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Verdict:
    """What unlearning the query says of the served list (`creditline.v1.Verdict`)."""

    query_rise: float
    recall: Estimate
    missed_influence: Estimate
    ndcg: Estimate
    rank_correlation: Estimate
    listed_works: int
    sampled_works: int
    seconds: float


@dataclass(frozen=True)
class AuditFinding:
    """The audit of this very picture; `verdict` is None unless `state` is "DONE"."""

    id: str
    state: str
    verdict: Verdict | None = None
    error: str = ""


@dataclass(frozen=True)
class CreditLine:
    """The answer to one query, with its audit where one was asked for.

    Raises InvalidInput when shares and remainder are not parts of one whole.
    """

    attribution_id: str
    query: Query
    works: tuple[CreditedWork, ...]
    contributors: tuple[CreditedContributor, ...]
    remainder: float
    release: ReleaseFacts
    accuracy: Accuracy
    timings: Mapping[str, float] = field(default_factory=dict)
    audit: AuditFinding | None = None

    def __post_init__(self) -> None:
        total = sum(work.share for work in self.works) + self.remainder
        if abs(total - 1.0) > _SUM_TOLERANCE:
            raise InvalidInput(f"shares and remainder sum to {total:.8f} instead of 1", field="works.share")

    @property
    def other_works(self) -> int:
        """How many works of the corpus the remainder stands for."""
        listed = sum(1 + len(work.copies) for work in self.works)
        return max(0, self.release.works - listed)

    @property
    def owes_nobody(self) -> bool:
        """Whether no listed work has a share."""
        return all(work.share <= 0 for work in self.works)
