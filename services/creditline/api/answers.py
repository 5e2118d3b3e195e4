"""The gateway's answers as frozen dataclasses.

The gateway's use cases make them, its transports serve them as protobuf and JSON, and the Python client
returns them. The fields are those of `protos/creditline/v1`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

LOW_PROMPT_AGREEMENT = 0.05
"""Agreement of picture and prompt below which an answer says so; one genuine pair in twenty is below it."""


class AnswerForm(StrEnum):
    """In which form a query is answered."""

    FAST = "FAST"
    """By the encoder's vector alone: works are ordered by their cosine."""
    RERANKED = "RERANKED"
    """The nearest works are ordered by a gradient of the generator, which takes longer and agrees better with
    the teacher."""


@dataclass(frozen=True)
class WorkFilter:
    """Restriction of the listed works. A work passes when it matches every field that is set.

    It changes which works are listed, and not what a share is: shares stay parts of the influence of all
    works, and the remainder holds all works that are not listed, whether they pass or not.
    """

    contributors: tuple[str, ...] = ()
    """Names of which one must be the work's contributor or a rights holder, in any spelling."""
    contributor_ids: tuple[str, ...] = ()
    """Ids of contributors (ORCID, ISNI, account). A work passes by its name or by its id."""
    licences: tuple[str, ...] = ()
    """Accepted licences, as the works state them."""
    created_since: datetime | None = None
    """Earliest time of creation, inclusive. Works without a known time do not pass."""
    created_until: datetime | None = None
    """Latest time of creation, exclusive. Works without a known time do not pass."""
    consent: tuple[str, ...] = ()
    """Terms such as `generative_training=prohibited`: for each use that they name, one of its terms must
    hold."""

    @property
    def narrows(self) -> bool:
        """Whether the filter restricts anything."""
        return self != WorkFilter()


@dataclass(frozen=True)
class CreditedHolder:
    """A person who has a part of a listed work's credit."""

    name: str
    """Name of the person."""
    percent: float
    """Percentage of the work's credit, above 0 and at most 100."""
    contributor_id: str = ""
    """Id of the person (ORCID, ISNI, account); empty where the corpus has none."""


@dataclass(frozen=True)
class CreditedWork:
    """One listed work with its share of the credit."""

    id: str
    """Id of the work."""
    title: str
    """Title of the work."""
    caption: str
    """Caption of the work."""
    contributor: str
    """Name of the contributor."""
    licence: str
    """Licence of the work."""
    score: float
    """Cosine between query and work in the encoder's space."""
    expected_influence: float
    """Expected influence of the work, calibrated from `score`, or from `kernel_score` where there is one."""
    share: float
    """Part of the query's total influence, 0 to 1; of the work and all its `copies` together."""
    rank: int
    """Position in the list; 1 is the largest share."""
    copies: tuple[str, ...]
    """Ids of the other works of the same duplicate group, which share this credit."""
    share_low: float | None = None
    """Lower end of the interval of the true share; None where the release has no intervals."""
    share_high: float | None = None
    """Upper end of the interval of the true share; None where the release has no intervals."""
    withdrawn: bool = False
    """In a recorded answer: whether the work is withdrawn now, by itself or by a rights holder."""
    withdrawn_since: datetime | None = None
    """Start of the withdrawal; None when the work is not withdrawn."""
    withdrawn_copies: tuple[str, ...] = ()
    """In a recorded answer: those of `copies` that are withdrawn now."""
    contributor_id: str = ""
    """Id of the contributor (ORCID, ISNI, account); empty where the corpus has none."""
    holders: tuple[CreditedHolder, ...] = ()
    """The people among whom the work's credit is divided, in the order of the corpus; their percentages sum
    to 100. Empty where the contributor has the whole credit."""
    share_from_picture: float | None = None
    """Part of `share` that rests on the picture; negative where the picture speaks against the work. None
    where the release cannot tell."""
    share_from_prompt: float | None = None
    """Part of `share` that rests on the prompt; both parts sum to `share`. None where the release cannot
    tell."""
    kernel_score: float | None = None
    """Score of the gradient kernel, in standard deviations above the mean of a sample of all works; None in
    fast answers, and for works that were added after the gradient rows were made."""


@dataclass(frozen=True)
class CreditedContributor:
    """One contributor with the share of all their works: of a work with rights holders, their part of it."""

    name: str
    """Name of the contributor."""
    share: float
    """Sum of their parts of the shares of all works in the corpus, listed or not, 0 to 1."""
    works: int
    """Number of listed works of whose credit they have a part, copies included."""
    share_low: float | None = None
    """Lower end of the interval of the true share; None where the release has no intervals."""
    share_high: float | None = None
    """Upper end of the interval of the true share; None where the release has no intervals."""
    listed_share: float = 0.0
    """The part of `share` of their listed works. A contributor of many works has a small share of
    most pictures without any listed work."""
    withdrawn: bool = False
    """In a recorded answer: whether the contributor is withdrawn now."""
    withdrawn_since: datetime | None = None
    """Start of the withdrawal; None when the contributor is not withdrawn."""
    contributor_id: str = ""
    """Id of the contributor; empty where the corpus has none. Two contributors of one name have two ids."""


@dataclass(frozen=True)
class ReleaseSummary:
    """The release that an answer was made with. Fingerprints are SHA-256, 64 hex digits."""

    name: str
    """Name of the release."""
    created: datetime
    """Time at which the release was made."""
    generator_fingerprint: str
    """Fingerprint of the generator whose pictures the release attributes."""
    corpus_fingerprint: str
    """Fingerprint of the corpus that the generator was trained on."""
    towers_fingerprint: str
    """Fingerprint of the frozen towers under the encoder."""
    dimension: int
    """Dimension of the encoder's vectors."""
    works: int
    """Number of works of the release."""
    collection: str
    """Qdrant collection that holds the works' vectors."""


@dataclass(frozen=True)
class AuditedAccuracy:
    """Accuracy of a release's answers according to its audits so far; None while there is no audit."""

    audits: int
    """Number of finished audits."""
    recall: float | None
    """Mean recall of the served lists."""
    recall_low: float | None
    """Lower end of the 95 % interval of the mean recall."""
    recall_high: float | None
    """Upper end of the 95 % interval of the mean recall."""
    missed_influence: float | None
    """Mean part of the total influence that the served lists did not name."""


@dataclass(frozen=True)
class ReleaseAnswer:
    """A release with its audited accuracy."""

    release: ReleaseSummary
    """The release."""
    accuracy: AuditedAccuracy
    """Accuracy of the release's answers according to its audits."""


@dataclass(frozen=True)
class PictureAloneRecall:
    """Recall of answers from pictures alone, on queries that the release was not trained on.

    Recall is the part of the ten most influential works, by the teacher, that the first ten of an answer
    name.
    """

    recall: float
    """Mean over queries."""
    low: float
    """Lower end of its 95 % interval."""
    high: float
    """Upper end of its 95 % interval."""
    with_prompt: float
    """Mean recall of ordinary answers to the same queries."""


@dataclass(frozen=True)
class Timings:
    """Duration of each stage of one answer in the gateway, in milliseconds."""

    total_ms: float
    """Total, from the arrival of the request."""
    check_ms: float
    """Checking the request and decoding its picture."""
    embed_ms: float
    """Embedding picture and prompt; the withdrawals are read at the same time."""
    search_ms: float
    """Searching the index."""
    share_ms: float
    """Calibrating scores and computing shares."""
    record_ms: float
    """Recording the answer in the ledger."""
    rerank_ms: float = 0.0
    """Taking the query's gradient on the generator and scoring works by it; 0 in fast answers."""


@dataclass(frozen=True)
class AttributionAnswer:
    """The works and contributors that a picture owes. Shares of works and `remainder` sum to 1."""

    attribution_id: str
    """Id under which the ledger holds the answer."""
    works: tuple[CreditedWork, ...]
    """The listed works, largest share first."""
    contributors: tuple[CreditedContributor, ...]
    """All contributors of listed works, and as many of the largest others as works are listed; the largest
    share first. With a filter, only the contributors of listed works."""
    remainder: float
    """Share of all works that are not listed."""
    release: ReleaseSummary
    """The release that the answer was made with."""
    timings: Timings
    """Duration of each stage."""
    accuracy: AuditedAccuracy
    """Accuracy of the release's answers according to its audits."""
    concentration: float = 0.0
    """How unevenly the influence is spread, above an even spread over `corpus_works` works: 0 where all of
    them have the same part, 1 where one has it all."""
    remainder_low: float | None = None
    """Lower end of the interval of the true remainder; None where the release has no intervals."""
    remainder_high: float | None = None
    """Upper end of the interval of the true remainder; None where the release has no intervals."""
    coverage: float | None = None
    """Fraction of answers whose true values lie in the intervals; None where the release has no intervals."""
    ood_score: float | None = None
    """Out-of-distribution score. Above 1, the picture is unlike those that the release was calibrated on, and
    its shares are unreliable. None where the release has no out-of-distribution detector."""
    corpus_works: int = 0
    """Number of works that share the influence: those of the build that answered; 0 where an answer from the
    past does not record it."""
    equal_parts: float | None = None
    """The number of works that would be as concentrated if they had equal parts (see
    `calibration.concentration.equal_parts`); None where an answer from the past does not record it."""
    filter: WorkFilter | None = None
    """The filter that the listed works passed; None where all works could be listed."""
    works_newer_than_calibration: int = 0
    """Number of the works that share the influence that were added to the release after its calibration."""
    calibration_outdated: bool | None = None
    """Whether the teacher's labels for added works showed that the calibration no longer holds, so that the
    shares of these works are unreliable; None where it was not checked."""
    prompt_agreement: float | None = None
    """Part of genuine pairs of a generated picture and its prompt that agree less than those of this query.
    Below `LOW_PROMPT_AGREEMENT` the picture may have been made from another prompt. None where the release
    cannot tell."""
    private: bool = False
    """Whether the caller sent a vector instead of picture and prompt: the answer holds for that vector,
    whatever it came from. It is never audited and counts in no statement."""
    share_from_picture: float | None = None
    """Sum of the listed works' parts that rest on the picture; None where the release cannot tell."""
    share_from_prompt: float | None = None
    """Sum of the listed works' parts that rest on the prompt; None where the release cannot tell."""
    from_picture_alone: bool = False
    """Whether the prompt had no part in the answer, because picture and prompt agree less than the gateway
    is set to accept."""
    picture_alone_recall: PictureAloneRecall | None = None
    """How good such answers are; None unless `from_picture_alone`."""
    intervals_withheld: bool = False
    """Whether the release has intervals but withholds them: no work is as near to this query as one was to
    nearly all that the intervals were fitted on, so that their coverage would not hold."""
    form: AnswerForm = AnswerForm.FAST
    """Form of the answer; `accuracy` is that of answers of this form."""
    reranked_works: int = 0
    """Number of works that were re-ranked; 0 in fast answers."""


@dataclass(frozen=True)
class RecordedAttribution:
    """An answer from the ledger as it was served, with marks on works and contributors withdrawn since."""

    answer: AttributionAnswer
    """The answer. Its `accuracy` is the current one; its `timings` lack the recording itself."""
    created: datetime
    """Time at which the answer was recorded."""
    prompt: str
    """Prompt of the query."""
    generator: str
    """Fingerprint of the generator that made the picture."""
    audit: AuditAnswer | None
    """Current state of the answer's audit; None when no audit was requested."""
    undelivered: bool = False
    """Whether its caller left before the answer was sent, and no repeat of the request has got it since: it
    then counts in no accuracy and no statement."""


@dataclass(frozen=True)
class WorkAnswer:
    """One work of the corpus. REST serves its thumbnail at a URL of its own; a withdrawn work has none."""

    id: str
    """Id of the work."""
    title: str
    """Title of the work."""
    caption: str
    """Caption of the work."""
    keywords: tuple[str, ...]
    """Keywords of the work."""
    contributor: str
    """Name of the contributor."""
    licence: str
    """Licence of the work."""
    source: str
    """Path of the work in the collection that it comes from."""
    duplicate_group: str
    """Id of the group of copies that the work belongs to."""
    withdrawn: bool = False
    """Whether the work is withdrawn now, by itself or by a rights holder."""
    withdrawn_since: datetime | None = None
    """Start of the withdrawal; None when the work is not withdrawn."""
    contributor_id: str = ""
    """Id of the contributor; empty where the corpus has none."""


@dataclass(frozen=True)
class Person:
    """A person, by a name or by an id; the other one is empty."""

    name: str = ""
    """Name of the person."""
    id: str = ""
    """ORCID, ISNI, or the account of a platform."""


@dataclass(frozen=True)
class MergeAnswer:
    """One record that two names or ids are one person, or that they no longer are."""

    sequence: int
    """Position among all records about merged contributors."""
    id: str
    """Id of the record."""
    created: datetime
    """Time at which the record in force was made; a repeated request does not change it."""
    person: Person
    """The one under whom the works of both are credited."""
    other: Person
    """The other name or id."""
    action: str
    """MERGED or REVOKED."""
    reason: str
    """Reason given by the requester."""
    requested_by: str
    """The requester."""


@dataclass(frozen=True)
class MergeStatus:
    """A record about merged contributors that the ledger holds, and how far it has been carried out."""

    merge: MergeAnswer
    """The record."""
    carried_out: bool
    """Whether every collection of the index agrees about withdrawals. Answers follow even before that."""
    pending: str
    """Why it is not carried out yet; empty when it is."""


@dataclass(frozen=True)
class WithdrawalAnswer:
    """One withdrawal request about one subject, or its revocation."""

    sequence: int
    """Position among all withdrawal requests in the ledger."""
    id: str
    """Id of the request."""
    created: datetime
    """Time at which the request in force was recorded; a repeated request does not change it."""
    kind: str
    """WORK, CONTRIBUTOR or CONTRIBUTOR_ID."""
    subject: str
    """Id of the work, or name or id of the contributor."""
    action: str
    """WITHDRAWN or REVOKED."""
    reason: str
    """Reason given by the requester."""
    requested_by: str
    """The requester."""


@dataclass(frozen=True)
class WithdrawalStatus:
    """A withdrawal request that the ledger holds, and how far it has been carried out."""

    withdrawal: WithdrawalAnswer
    """The request."""
    works: int
    """Number of works of the gateway's corpus that it concerns."""
    carried_out: bool
    """Whether every collection of the index agrees. Answers leave the works out even before that."""
    pending: str
    """Why the request is not carried out yet; empty when it is."""


@dataclass(frozen=True)
class Estimate:
    """A figure with its 95 % interval."""

    value: float
    """Point estimate."""
    low: float
    """Lower end of the interval."""
    high: float
    """Upper end of the interval."""

    @classmethod
    def certain(cls, value: float) -> Estimate:
        """A figure without sampling error."""
        return cls(value, value, value)


@dataclass(frozen=True)
class AuditedWork:
    """A work that the teacher scored for an audit."""

    id: str
    """Id of the work."""
    influence: float
    """The teacher's influence."""
    listed: bool
    """Whether the served answer listed the work."""


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
    """Current state of an audit."""

    id: str
    """Id of the audit."""
    attribution_id: str
    """Id of the audited answer."""
    state: str
    """QUEUED, RUNNING, DONE or FAILED."""
    created: datetime
    """Time at which the audit was requested."""
    finished: datetime | None
    """Time at which the audit ended; None before that."""
    verdict: Verdict | None
    """Result of the audit; None unless `state` is DONE."""
    error: str | None
    """What went wrong and what to do; None unless `state` is FAILED."""
