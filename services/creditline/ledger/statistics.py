"""Size and state of a ledger, for metrics: a few aggregates, none of which reads whole attributions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, and_, func, select, text

from creditline.api.answers import AnswerForm
from creditline.ledger.api.undelivered import is_served
from creditline.ledger.interval import mean_interval
from creditline.ledger.records import Accuracy, AuditState
from creditline.ledger.tables import (
    additions,
    api_keys,
    attributions,
    audits,
    contributor_merges,
    outbox,
    withdrawals,
)

# The latest releases only: a ledger of years may hold many.
_MOST_RELEASES = 10
_SEQUENCES = (
    attributions.c.sequence,
    withdrawals.c.sequence,
    contributor_merges.c.sequence,
    additions.c.sequence,
    outbox.c.id,
)
COUNTED_TABLES = (*(column.table.name for column in _SEQUENCES), audits.name, api_keys.name)
"""Names of the tables whose rows are counted."""
_OPEN = (AuditState.QUEUED, AuditState.RUNNING)


@dataclass(frozen=True)
class LedgerStatistics:
    """Size and state of a ledger at one moment."""

    rows: Mapping[str, int]
    """Rows by table; of append-only tables the number of the last one."""
    size_bytes: int
    """Size of the database."""
    audits: Mapping[AuditState, int]
    """Audits by state."""
    oldest_seconds: Mapping[AuditState, float]
    """Age of the oldest queued and of the oldest running audit since it was queued; 0 where there is none."""
    expired_leases: int
    """Running audits whose worker has not renewed its lease, and that no other has taken yet."""
    unpublished: int
    """Jobs in the outbox that were never published."""
    oldest_unpublished_seconds: float
    """Age of the oldest of these; 0 where there is none."""
    accuracy: Mapping[str, Accuracy]
    """Audited accuracy of the latest releases' fast answers, by name."""


def ledger_statistics(connection: Connection, now: datetime) -> LedgerStatistics:
    """Read size and state of the ledger behind a connection."""
    states = _audits_by_state(connection)
    waiting, oldest = _unpublished(connection, now)
    return LedgerStatistics(
        rows={
            **{column.table.name: connection.scalar(select(func.max(column))) or 0 for column in _SEQUENCES},
            audits.name: sum(states.values()),
            api_keys.name: connection.scalar(select(func.count()).select_from(api_keys)) or 0,
        },
        size_bytes=_size_bytes(connection),
        audits=states,
        oldest_seconds={state: _oldest_seconds(connection, state, now) for state in _OPEN},
        expired_leases=_expired_leases(connection, now),
        unpublished=waiting,
        oldest_unpublished_seconds=oldest,
        accuracy=_accuracy_by_release(connection),
    )


def _size_bytes(connection: Connection) -> int:
    if connection.dialect.name == "postgresql":
        query = "SELECT pg_database_size(current_database())"
    else:
        query = "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()"
    return int(connection.scalar(text(query)) or 0)


def _audits_by_state(connection: Connection) -> dict[AuditState, int]:
    counted = select(audits.c.state, func.count()).group_by(audits.c.state)
    found = {AuditState(state): count for state, count in connection.execute(counted)}
    return {state: found.get(state, 0) for state in AuditState}


def _oldest_seconds(connection: Connection, state: AuditState, now: datetime) -> float:
    return _age(connection.scalar(select(func.min(audits.c.created)).where(audits.c.state == state)), now)


def _expired_leases(connection: Connection, now: datetime) -> int:
    expired = and_(audits.c.state == AuditState.RUNNING, audits.c.lease_until < now)
    return connection.scalar(select(func.count()).select_from(audits).where(expired)) or 0


def _unpublished(connection: Connection, now: datetime) -> tuple[int, float]:
    never = outbox.c.published_at.is_(None)
    count, oldest = connection.execute(select(func.count(), func.min(outbox.c.created)).where(never)).one()
    return count, _age(oldest, now)


def _accuracy_by_release(connection: Connection) -> dict[str, Accuracy]:
    rows = connection.execute(
        select(audits.c.release, func.count(), func.avg(audits.c.recall), func.avg(audits.c.missed_influence))
        .where(
            audits.c.state == AuditState.DONE,
            audits.c.form == AnswerForm.FAST,
            # An audit of an answer from the picture alone leaves no recall: it does not count.
            audits.c.recall.is_not(None),
            is_served(audits.c.attribution_id),
        )
        .group_by(audits.c.release)
        .order_by(func.max(audits.c.finished).desc())
        .limit(_MOST_RELEASES)
    )
    return {
        release: Accuracy(count, recall, *mean_interval(recall, count), missed)
        for release, count, recall, missed in rows
    }


def _age(since: datetime | None, now: datetime) -> float:
    return 0.0 if since is None else max((now - since).total_seconds(), 0.0)
