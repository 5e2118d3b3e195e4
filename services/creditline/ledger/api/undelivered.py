"""Marks of answers that were recorded and never reached their caller.

An answer is recorded before it is sent, so its caller may have left meanwhile. Its row stays in the chain as
it is; the mark lies beside it. Accuracy, automatic audits and statements leave marked answers out.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, and_, delete, exists, insert, select, update

from creditline.ledger.records import AuditState
from creditline.ledger.tables import attributions, audits, outbox, undelivered

_NOT_DELIVERED = "the answer was not delivered: its caller left before it was sent"


def is_served(attribution_id: ColumnElement[str]) -> ColumnElement[bool]:
    """Condition that an attribution counts as served.

    Args:
        attribution_id: Column with the id of the attribution.
    """
    return attribution_id.not_in(
        select(undelivered.c.attribution_id).where(undelivered.c.delivered_later.is_(None))
    )


def is_lost(attribution_id: ColumnElement[str]) -> ColumnElement[bool]:
    """Condition that an attribution is marked and no repeat has got it, for queries of few attributions.

    Args:
        attribution_id: Column with the id of the attribution.
    """
    marked = and_(undelivered.c.attribution_id == attribution_id, undelivered.c.delivered_later.is_(None))
    return exists().where(marked)


def mark_undelivered(connection: Connection, attribution_ids: Collection[str], now: datetime) -> int:
    """Mark answers, and end automatic audits of them that nobody has begun.

    Args:
        connection: A connection in a write transaction.
        attribution_ids: Ids of attributions; ids of none are ignored.
        now: The current time.

    Returns:
        Number of answers that were not marked before.
    """
    marked = select(undelivered.c.attribution_id)
    new = connection.scalars(
        select(attributions.c.id).where(
            attributions.c.id.in_(attribution_ids), attributions.c.id.not_in(marked)
        )
    ).all()
    if not new:
        return 0
    connection.execute(insert(undelivered), [{"attribution_id": each, "marked": now} for each in new])
    queued = and_(audits.c.attribution_id.in_(new), audits.c.state == AuditState.QUEUED)
    jobs = outbox.c.audit_id.in_(select(audits.c.id).where(queued))
    connection.execute(delete(outbox).where(jobs))
    connection.execute(
        update(audits).where(queued).values(state=AuditState.FAILED, finished=now, error=_NOT_DELIVERED)
    )
    return len(new)


def mark_delivered(connection: Connection, attribution_id: str, now: datetime) -> None:
    """Note that a repeated request got a marked answer after all; without effect on other answers."""
    this = and_(undelivered.c.attribution_id == attribution_id, undelivered.c.delivered_later.is_(None))
    connection.execute(update(undelivered).where(this).values(delivered_later=now))
