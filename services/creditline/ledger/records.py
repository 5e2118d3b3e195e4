"""What the ledger holds, as frozen dataclasses."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from creditline.api.answers import Verdict


class AuditState(StrEnum):
    """QUEUED → RUNNING → DONE or FAILED; a lease that runs out lets another worker take a RUNNING one."""

    QUEUED = "QUEUED"
    RUNNING = "RUNNING"
    DONE = "DONE"
    FAILED = "FAILED"


@dataclass(frozen=True)
class StoredAttribution:
    """An attribution as it was served. `image` is the query as PNG; `answer_json` the served answer."""

    sequence: int
    id: str
    created: datetime
    release: str
    generator: str
    corpus: str
    prompt: str
    image: bytes
    k: int
    answer_json: str
    previous_hash: str
    hash: str

    @property
    def answer(self) -> Mapping[str, Any]:
        """The served answer, parsed."""
        parsed: Mapping[str, Any] = json.loads(self.answer_json)
        return parsed


@dataclass(frozen=True)
class Audit:
    """A teacher run on a served query."""

    id: str
    attribution_id: str
    state: AuditState
    created: datetime
    started: datetime | None
    finished: datetime | None
    lease_until: datetime | None
    worker: str | None
    verdict: Verdict | None
    error: str | None


@dataclass(frozen=True)
class OutboxEntry:
    """A job that is to be published: the task's name and its keyword arguments."""

    id: int
    audit_id: str
    task: str
    payload: Mapping[str, Any]


@dataclass(frozen=True)
class Accuracy:
    """What audits found of a release so far; the means are None while there is no audit.

    `recall_low` and `recall_high` are a 95 % interval of the mean recall.
    """

    audits: int
    recall: float | None
    recall_low: float | None
    recall_high: float | None
    missed_influence: float | None


class WithdrawalKind(StrEnum):
    """What a withdrawal is about: one work, or everything by one contributor."""

    WORK = "WORK"
    CONTRIBUTOR = "CONTRIBUTOR"


class WithdrawalAction(StrEnum):
    """A subject is left out from WITHDRAWN on, until REVOKED.

    The values are what ledgers store and hash; the names are those of the contract.
    """

    WITHDRAWN = "WITHDRAWN"
    REVOKED = "TAKEN_BACK"


@dataclass(frozen=True)
class Withdrawal:
    """One wish about one subject: a work's id or a contributor's name. The newest one about it stands."""

    sequence: int
    id: str
    created: datetime
    kind: WithdrawalKind
    subject: str
    action: WithdrawalAction
    reason: str
    requested_by: str
    previous_hash: str
    hash: str

    @property
    def is_withdrawn(self) -> bool:
        return self.action is WithdrawalAction.WITHDRAWN


@dataclass(frozen=True)
class ChainReport:
    """The result of checking both hash chains.

    Counts and heads are of what fits; `broken_at` names the first attribution, or else the first withdrawal,
    that does not fit or is missing.
    """

    attributions: int
    head: str
    broken_at: str | None
    withdrawals: int
    withdrawals_head: str

    @property
    def intact(self) -> bool:
        return self.broken_at is None
