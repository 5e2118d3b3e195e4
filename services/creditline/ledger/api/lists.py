"""Pages of lists, newest first: each page begins after the last entry of the one before.

New entries come in front of all pages, so no entry is listed twice or left out while others are added.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, and_, or_, select

from creditline.ledger.api.undelivered import is_lost
from creditline.ledger.tables import attributions, audits


@dataclass(frozen=True)
class ListedAttribution:
    """A recorded answer without its works and its picture."""

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
    prompt: str
    """Prompt of the query."""
    k: int
    """Number of works that the caller asked for."""
    undelivered: bool
    """Whether its caller left before it was sent."""


def attributions_before(
    connection: Connection, sequence: int | None, *, limit: int, owner: str | None
) -> tuple[ListedAttribution, ...]:
    """Attributions before a sequence number, newest first.

    Args:
        connection: A transaction.
        sequence: Sequence number of the last one of the page before; None: the newest.
        limit: Largest number of attributions.
        owner: Owner whose attributions count; None: all.
    """
    names = ("sequence", "id", "created", "release", "generator", "prompt", "k")
    columns = (*(attributions.c[name] for name in names), is_lost(attributions.c.id).label("undelivered"))
    found = select(*columns).order_by(attributions.c.sequence.desc())
    if sequence is not None:
        found = found.where(attributions.c.sequence < sequence)
    if owner is not None:
        found = found.where(attributions.c.owner == owner)
    rows = connection.execute(found.limit(limit))
    return tuple(ListedAttribution(**row._mapping) for row in rows)


def audits_before(
    connection: Connection, last: tuple[datetime, str] | None, *, limit: int, owner: str | None
) -> tuple[Row[Any], ...]:
    """Rows of audits before a time of creation and an id, newest first.

    Args:
        connection: A transaction.
        last: Time and id of the last one of the page before; None: the newest.
        limit: Largest number of audits.
        owner: Owner whose attributions' audits count; None: all.
    """
    found = select(audits).order_by(audits.c.created.desc(), audits.c.id.desc())
    if last is not None:
        created, audit_id = last
        same_time = and_(audits.c.created == created, audits.c.id < audit_id)
        found = found.where(or_(audits.c.created < created, same_time))
    if owner is not None:
        found = found.join(attributions, attributions.c.id == audits.c.attribution_id)
        found = found.where(attributions.c.owner == owner)
    return tuple(connection.execute(found.limit(limit)))
