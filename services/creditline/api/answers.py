"""What the gateway answers, as frozen dataclasses: made by its use cases, served as protobuf and JSON, and
handed out by the Python client. The fields are those of `protos/creditline/v1`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class CreditedWork:
    """One listed work. `score`: cosine with the query; `share`: of all its `copies` together, 0 to 1.

    `share_low`, `share_high`: nine true shares of ten lie between them; None where the release cannot say.
    Of an answer from the past: whether the work, and which of its copies, have been withdrawn by now.
    """

    id: str
    title: str
    caption: str
    contributor: str
    licence: str
    score: float
    expected_influence: float
    share: float
    rank: int
    copies: tuple[str, ...]
    share_low: float | None = None
    share_high: float | None = None
    withdrawn: bool = False
    withdrawn_since: datetime | None = None
    withdrawn_copies: tuple[str, ...] = ()


@dataclass(frozen=True)
class CreditedContributor:
    """A contributor's share over all their works in the corpus; `works` of them (with copies) are listed.

    `listed_share` is what those alone have: who made many works has a little of most pictures. Of an answer
    from the past: whether they have withdrawn by now.
    """

    name: str
    share: float
    works: int
    share_low: float | None = None
    share_high: float | None = None
    listed_share: float = 0.0
    withdrawn: bool = False
    withdrawn_since: datetime | None = None


@dataclass(frozen=True)
class ReleaseSummary:
    """The release that answered. Fingerprints are SHA-256, 64 hex digits."""

    name: str
    created: datetime
    generator_fingerprint: str
    corpus_fingerprint: str
    towers_fingerprint: str
    dimension: int
    works: int
    collection: str


@dataclass(frozen=True)
class AuditedAccuracy:
    """What audits found of a release so far: means with a 95 % interval; None while there is no audit."""

    audits: int
    recall: float | None
    recall_low: float | None
    recall_high: float | None
    missed_influence: float | None


@dataclass(frozen=True)
class ReleaseAnswer:
    """A release and how accurate audits found it."""

    release: ReleaseSummary
    accuracy: AuditedAccuracy


@dataclass(frozen=True)
class Timings:
    """Milliseconds of each stage of one answer, as the gateway saw them."""

    total_ms: float
    check_ms: float
    embed_ms: float
    search_ms: float
    share_ms: float
    record_ms: float


@dataclass(frozen=True)
class AttributionAnswer:
    """The works and contributors that a picture owes. Shares of works and `remainder` sum to 1."""

    attribution_id: str
    works: tuple[CreditedWork, ...]
    contributors: tuple[CreditedContributor, ...]
    remainder: float
    release: ReleaseSummary
    timings: Timings
    accuracy: AuditedAccuracy
    concentration: float = 0.0
    """How unevenly the influence is spread, above an even spread over `corpus_works` works: 0 where all of
    them have the same part, 1 where one has it all."""
    remainder_low: float | None = None
    remainder_high: float | None = None
    coverage: float | None = None
    """Fraction of answers whose true values lie in the intervals; None where the release has none."""
    ood_score: float | None = None
    """Above 1, the picture is unlike those that the release was calibrated on, and shares mean little; None
    where the release cannot say."""
    corpus_works: int = 0
    """Number of works that share the influence: those of the build that answered; 0 where an answer from the
    past does not record it."""
    equal_parts: float | None = None
    """The number of works that would be as concentrated if they had equal parts (see
    `calibration.concentration.equal_parts`); None where an answer from the past does not record it."""


@dataclass(frozen=True)
class RecordedAttribution:
    """An answer as it was served, from the ledger; what has been withdrawn by now is marked in it.

    `answer.accuracy` is that of now; `answer.timings` lack the recording itself. `audit` as it stands; None
    where none was asked for.
    """

    answer: AttributionAnswer
    created: datetime
    prompt: str
    generator: str
    audit: AuditAnswer | None


@dataclass(frozen=True)
class WorkAnswer:
    """One work of the corpus. Its thumbnail is asked for by itself in REST; a withdrawn work has none."""

    id: str
    title: str
    caption: str
    keywords: tuple[str, ...]
    contributor: str
    licence: str
    source: str
    duplicate_group: str
    withdrawn: bool = False
    withdrawn_since: datetime | None = None


@dataclass(frozen=True)
class WithdrawalAnswer:
    """One wish about one subject. `kind` is WORK or CONTRIBUTOR, `action` WITHDRAWN or TAKEN_BACK.

    `created` is when the wish that stands was written: asking for the same again changes nothing.
    """

    sequence: int
    id: str
    created: datetime
    kind: str
    subject: str
    action: str
    reason: str
    requested_by: str


@dataclass(frozen=True)
class WithdrawalStatus:
    """A wish that is in the ledger now, and how far it has come.

    `works`: how many works of the gateway's corpus it is about. `carried_out`: the index agrees in every
    collection; until then `pending` says why not, and answers leave the works out all the same.
    """

    withdrawal: WithdrawalAnswer
    works: int
    carried_out: bool
    pending: str


@dataclass(frozen=True)
class Estimate:
    """A figure with its 95 % interval."""

    value: float
    low: float
    high: float

    @classmethod
    def certain(cls, value: float) -> Estimate:
        """A figure without sampling error."""
        return cls(value, value, value)


@dataclass(frozen=True)
class AuditedWork:
    """A work that the teacher scored for an audit, and whether it had been listed."""

    id: str
    influence: float
    listed: bool


@dataclass(frozen=True)
class Verdict:
    """The served list, judged by the teacher after it unlearned the query (`creditline.v1.Verdict`)."""

    query_rise: float
    """The query's loss after unlearning over its loss before."""
    recall: Estimate
    """Of the K most influential works of the corpus, the part that the list of K works named."""
    missed_influence: Estimate
    """Part of the total positive influence on works that were not listed."""
    ndcg: Estimate
    """nDCG@K of the served order, against the best order of the whole corpus."""
    rank_correlation: Estimate
    """Spearman correlation of served expected influence and the teacher's influence over the scored works."""
    listed_works: int
    """Number of listed works, all of which the teacher scored."""
    sampled_works: int
    """Number of works that the teacher scored in a random sample of all others."""
    seconds: float
    """Duration of the audit in seconds."""
    works: tuple[AuditedWork, ...]
    """The scored works: the listed ones first, in served order, then the sampled ones."""


@dataclass(frozen=True)
class AuditAnswer:
    """An audit as it stands. `state` is QUEUED, RUNNING, DONE (with a verdict) or FAILED (with an error)."""

    id: str
    attribution_id: str
    state: str
    created: datetime
    finished: datetime | None
    verdict: Verdict | None
    error: str | None
