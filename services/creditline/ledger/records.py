"""Records of the ledger, as frozen dataclasses."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from creditline.api.answers import AnswerForm, Verdict
from creditline.corpus.identity import PersonReference, key_of_id, key_of_name

PRIVATE = "private"
"""Key in a stored answer: whether its caller sent a vector instead of picture and prompt."""
FROM_PICTURE_ALONE = "from_picture_alone"
"""Key in a stored answer: whether it is from the picture alone, so that its vector is that of the picture."""
FORM = "form"
"""Key in a stored answer: its form; fast answers state none."""
RERANKED_WORKS = "reranked_works"
"""Key in a re-ranked answer: number of works that were re-ranked."""
EXPECTED = "expected_influence"
"""Key in a re-ranked answer: influence that was expected of each work that was found, by work id."""


class AuditState(StrEnum):
    """State of an audit: QUEUED, then RUNNING, then DONE or FAILED.

    When the lease of a RUNNING audit expires, another worker may take it.
    """

    QUEUED = "QUEUED"
    RUNNING = "RUNNING"
    DONE = "DONE"
    FAILED = "FAILED"


@dataclass(frozen=True)
class StoredAttribution:
    """An attribution as it was served."""

    sequence: int
    """Position in the chain, from 1."""
    id: str
    """Unique id: 32 hexadecimal digits."""
    created: datetime
    """Time at which it was recorded, in UTC."""
    release: str
    """Name of the release that answered."""
    generator: str
    """Fingerprint of the generator."""
    corpus: str
    """Fingerprint of the corpus."""
    prompt: str
    """Prompt of the query."""
    image: bytes
    """Picture of the query, as a file."""
    k: int
    """Number of works that the caller asked for."""
    answer_json: str
    """The served answer, as JSON text."""
    owner: str
    """Owner of the API key that asked; empty where no key was needed."""
    previous_hash: str
    """Hash of the attribution before it."""
    hash: str
    """Hash over `previous_hash` and the content, see `creditline.ledger.chain`."""
    undelivered: bool = False
    """Whether its caller left before it was sent; it counts nowhere then."""

    @property
    def answer(self) -> Mapping[str, Any]:
        """The served answer, parsed."""
        parsed: Mapping[str, Any] = json.loads(self.answer_json)
        return parsed

    @property
    def is_private(self) -> bool:
        """Whether the caller sent a vector instead of picture and prompt, which are then empty."""
        return bool(self.answer.get(PRIVATE, False))

    @property
    def from_picture_alone(self) -> bool:
        """Whether the prompt had no part in the answer."""
        return bool(self.answer.get(FROM_PICTURE_ALONE, False))

    @property
    def form(self) -> AnswerForm:
        """Form of the answer."""
        return AnswerForm(self.answer.get(FORM, AnswerForm.FAST))


@dataclass(frozen=True)
class Audit:
    """A run of the teacher on a served query; times are in UTC."""

    id: str
    """Unique id: 32 hexadecimal digits."""
    attribution_id: str
    """Id of the audited attribution."""
    state: AuditState
    """State of the audit."""
    created: datetime
    """Time at which it was queued."""
    started: datetime | None
    """Time at which a worker first took it; None: not taken yet."""
    finished: datetime | None
    """Time at which it was done or failed; None: still open."""
    lease_until: datetime | None
    """Time at which the worker's lease expires; None: never taken."""
    worker: str | None
    """Name of the worker that last took it; None: never taken."""
    verdict: Verdict | None
    """The verdict; None unless the audit is done."""
    error: str | None
    """Reason of the failure; None unless the audit has failed."""


@dataclass(frozen=True)
class OutboxEntry:
    """A job to be published to the broker."""

    id: int
    """Number of the entry in the outbox."""
    audit_id: str
    """Id of the audit that the job runs."""
    task: str
    """Name of the Celery task."""
    payload: Mapping[str, Any]
    """Keyword arguments of the task."""
    trace_parent: str = ""
    """W3C `traceparent` of the request that queued it; empty where it was not traced."""


@dataclass(frozen=True)
class Accuracy:
    """Accuracy of a release by its finished audits; the means are None while there is no audit."""

    audits: int
    """Number of finished audits."""
    recall: float | None
    """Mean recall."""
    recall_low: float | None
    """Lower limit of the 95 % confidence interval of the mean recall."""
    recall_high: float | None
    """Upper limit of the 95 % confidence interval of the mean recall."""
    missed_influence: float | None
    """Mean influence missed by the served lists, as a fraction from 0 to 1."""


class WithdrawalKind(StrEnum):
    """Kind of a withdrawal's subject: one work, or all works of one contributor, by name or by id."""

    WORK = "WORK"
    CONTRIBUTOR = "CONTRIBUTOR"
    CONTRIBUTOR_ID = "CONTRIBUTOR_ID"

    @property
    def noun(self) -> str:
        """The kind as errors name it."""
        return self.value.lower().replace("_", " ")

    def key(self, subject: str) -> str:
        """What is equal for two subjects of this kind that are one: the id of a work, or a person's key."""
        if self is WithdrawalKind.WORK:
            return subject
        return key_of_id(subject) if self is WithdrawalKind.CONTRIBUTOR_ID else key_of_name(subject)


class WithdrawalAction(StrEnum):
    """Action of a withdrawal request: a subject is left out of answers from WITHDRAWN until REVOKED.

    The values are stored in ledgers and hashed, so they never change; the names are those of the contract.
    """

    WITHDRAWN = "WITHDRAWN"
    REVOKED = "TAKEN_BACK"


@dataclass(frozen=True)
class Withdrawal:
    """A withdrawal request about one subject.

    Of each owner the latest request about a subject is in force; the subject is withdrawn while one is.
    """

    sequence: int
    """Position in the chain, from 1."""
    id: str
    """Unique id: 32 hexadecimal digits."""
    created: datetime
    """Time at which it was recorded, in UTC."""
    kind: WithdrawalKind
    """Whether the subject is a work, or a contributor by name or by id."""
    subject: str
    """Id of the work, or name or id of the contributor."""
    action: WithdrawalAction
    """Whether the subject is withdrawn or its withdrawal is revoked."""
    reason: str
    """Why it was requested; may be empty."""
    requested_by: str
    """Who requested it; may be empty."""
    owner: str
    """Owner of the API key that withdrew the subject; empty where no key was needed."""
    made_by: str
    """Owner of the API key that made this request: an admin may revoke the withdrawals of others."""
    previous_hash: str
    """Hash of the request before it."""
    hash: str
    """Hash over `previous_hash` and the content, see `creditline.ledger.chain`."""

    @property
    def is_withdrawn(self) -> bool:
        """Whether the subject is left out of answers while this request is in force."""
        return self.action is WithdrawalAction.WITHDRAWN


class MergeAction(StrEnum):
    """Action of a record about two contributors: they are one person from MERGED until REVOKED."""

    MERGED = "MERGED"
    REVOKED = "REVOKED"


@dataclass(frozen=True)
class Merge:
    """A record that two names or ids are one person, or that they no longer are; the latest is in force."""

    sequence: int
    """Position in the chain, from 1."""
    id: str
    """Unique id: 32 hexadecimal digits."""
    created: datetime
    """Time at which it was recorded, in UTC."""
    person: PersonReference
    """The one under whom the works of both are credited."""
    other: PersonReference
    """The other name or id."""
    action: MergeAction
    """Whether the two are merged or the merge is revoked."""
    reason: str
    """Why it was requested; may be empty."""
    requested_by: str
    """Who requested it; may be empty."""
    previous_hash: str
    """Hash of the record before it."""
    hash: str
    """Hash over `previous_hash` and the content, see `creditline.ledger.chain`."""

    @property
    def is_merged(self) -> bool:
        """Whether the two are one person while this record is in force."""
        return self.action is MergeAction.MERGED

    @property
    def pair(self) -> frozenset[str]:
        """Keys of the two people."""
        return frozenset((self.person.key, self.other.key))


@dataclass(frozen=True)
class ChainReport:
    """Result of the verification of all hash chains."""

    attributions: int
    """Number of attributions before the first mismatch."""
    head: str
    """Hash of the last of them."""
    broken_at: str | None
    """First attribution, or else first withdrawal, merge or record about added works, that does not match or
    is missing; None: no mismatch."""
    withdrawals: int
    """Number of withdrawal requests before the first mismatch."""
    withdrawals_head: str
    """Hash of the last of them."""
    merges: int
    """Number of records about merged contributors before the first mismatch."""
    merges_head: str
    """Hash of the last of them."""
    additions: int = 0
    """Number of records about added works before the first mismatch."""

    @property
    def intact(self) -> bool:
        """Whether all chains are complete and unchanged."""
        return self.broken_at is None
