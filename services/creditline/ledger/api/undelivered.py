"""Marks of answers that were recorded and never reached their caller.

An answer is recorded before it is sent, so its caller may have left meanwhile. Its row stays in the chain as
it is; the mark lies beside it. Accuracy, automatic audits and statements leave marked answers out.

A gateway that is killed can mark nothing. So an answer is recorded together with a row of `unconfirmed`,
which its gateway removes, many at once, when the answers were sent. What is unconfirmed after longer than any
request may take was recorded by a gateway that is gone; whichever gateway finds it marks it. Only what is
unconfirmed can be marked, so a mark that is late finds that a gateway has confirmed the answer meanwhile.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

from sqlalchemy import (
    ColumnElement,
    Connection,
    Delete,
    and_,
    bindparam,
    delete,
    exists,
    insert,
    select,
    update,
)

from creditline.ledger.records import AuditState
from creditline.ledger.tables import attributions, audits, outbox, unconfirmed, undelivered

# Statements of every answer: building one takes longer than running it.
_INSERT_ATTRIBUTION = insert(attributions)
_INSERT_UNCONFIRMED = insert(unconfirmed).values(
    attribution_id=bindparam("waiting_id"), created=bindparam("waiting_since")
)
_INSERT_BOTH = insert(attributions).add_cte(_INSERT_UNCONFIRMED.cte("waiting"))
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


def insert_attribution(connection: Connection, row: Mapping[str, object], *, awaits_delivery: bool) -> None:
    """Record an answer.

    Args:
        connection: A connection in a write transaction.
        row: The row of `attributions`.
        awaits_delivery: Also record that it has yet to be sent, on PostgreSQL in one statement.
    """
    if not awaits_delivery:
        connection.execute(_INSERT_ATTRIBUTION, row)
        return
    waiting = {"waiting_id": row["id"], "waiting_since": row["created"]}
    if connection.dialect.name == "postgresql":
        connection.execute(_INSERT_BOTH, {**row, **waiting})
    else:
        connection.execute(_INSERT_ATTRIBUTION, row)
        connection.execute(_INSERT_UNCONFIRMED, waiting)


def confirm_delivered(connection: Connection, attribution_ids: Collection[str], now: datetime) -> None:
    """Note that answers were sent; a mark that one of them got because that was so late is lifted.

    Args:
        connection: A connection in a write transaction.
        attribution_ids: Ids of answers.
        now: The current time.
    """
    removed = connection.execute(_without(attribution_ids)).rowcount
    if removed < len(attribution_ids):
        late = and_(
            undelivered.c.attribution_id.in_(attribution_ids), undelivered.c.delivered_later.is_(None)
        )
        connection.execute(update(undelivered).where(late).values(delivered_later=now))


def unconfirmed_before(connection: Connection, moment: datetime, *, limit: int) -> Sequence[str]:
    """Ids of answers that were recorded before a moment, and that nobody has confirmed."""
    old = select(unconfirmed.c.attribution_id).where(unconfirmed.c.created < moment)
    return connection.scalars(old.limit(limit)).all()


def _without(attribution_ids: Collection[str]) -> Delete:
    return delete(unconfirmed).where(unconfirmed.c.attribution_id.in_(attribution_ids))


def mark_undelivered(connection: Connection, attribution_ids: Collection[str], now: datetime) -> int:
    """Mark answers that are unconfirmed, and end automatic audits of them that nobody has begun.

    Args:
        connection: A connection in a write transaction.
        attribution_ids: Ids of answers; those that are confirmed, or marked already, are ignored.
        now: The current time.

    Returns:
        Number of answers that are marked now and were not before.
    """
    waiting = select(unconfirmed.c.attribution_id).where(unconfirmed.c.attribution_id.in_(attribution_ids))
    new = connection.scalars(waiting).all()
    if not new:
        return 0
    connection.execute(_without(new))
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
    connection.execute(_without([attribution_id]))
    this = and_(undelivered.c.attribution_id == attribution_id, undelivered.c.delivered_later.is_(None))
    connection.execute(update(undelivered).where(this).values(delivered_later=now))
