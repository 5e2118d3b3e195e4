"""Records that two names or ids of contributors are one person: appending them, and who results."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, ScalarSelect, func, insert, select

from creditline.corpus.identity import NO_BEARERS, Bearers, People, PersonReference
from creditline.errors import Conflict, InvalidInput, NotFound
from creditline.ledger.chain import GENESIS, merge_hash
from creditline.ledger.records import Merge, MergeAction
from creditline.ledger.requests import check_request
from creditline.ledger.tables import contributor_merges


def check_merge(person: PersonReference, other: PersonReference, reason: str, requested_by: str) -> None:
    """Validate a request to merge two people, or to revoke that.

    Raises:
        InvalidInput: A text is too long or has characters that cannot be stored, or a name is empty.
        Conflict: Both are one name already.
    """
    for field, reference in (("person", person), ("other", other)):
        if bool(reference.name) == bool(reference.id):
            raise InvalidInput(f"{field} needs either a name or an id; give one of the two", field=field)
        check_request(reference.name or reference.id, reason, requested_by, field=field)
    if person.key == other.key:
        raise Conflict(
            f"{person.shown!r} and {other.shown!r} are one name in two spellings, which are one person"
            " anyway; give two different names or ids",
            field="other",
        )


def append_merge(
    connection: Connection,
    *,
    created: datetime,
    person: PersonReference,
    other: PersonReference,
    action: MergeAction,
    reason: str,
    requested_by: str,
) -> Merge:
    """Append a record to the chain, unless the latest one about the two people says the same.

    Args:
        connection: A write transaction.
        created: Time of the record, with a time zone.
        person: The one under whom the works of both are credited.
        other: The other name or id.
        action: Whether the two are merged or their merge is revoked.
        reason: Why it was requested.
        requested_by: Who requested it.

    Returns:
        The record in force, new or existing.

    Raises:
        NotFound: The merge to revoke does not exist.
    """
    pair = frozenset((person.key, other.key))
    standing = {merge.pair: merge for merge in merges_after(connection, 0, None)}.get(pair)
    if standing is not None and standing.action is action:
        return standing
    if standing is None and action is MergeAction.REVOKED:
        raise NotFound(
            f"{person.shown!r} and {other.shown!r} were never merged with each other, so there is nothing to"
            " revoke; `creditline contributors list` shows who is merged",
            field="other",
        )
    last = select(contributor_merges.c.hash).order_by(contributor_merges.c.sequence.desc()).limit(1)
    previous = connection.scalar(last) or GENESIS
    row: dict[str, Any] = {
        "id": uuid.uuid4().hex,
        "created": created,
        "person": person.stored,
        "other": other.stored,
        "action": action,
        "reason": reason,
        "requested_by": requested_by,
    }
    chained = {**row, "previous_hash": previous, "hash": merge_hash(previous, row)}
    connection.execute(insert(contributor_merges).values(chained))
    return merges_after(connection, 0, None)[-1]


def merges_after(connection: Connection, sequence: int, limit: int | None) -> tuple[Merge, ...]:
    """Records after a sequence number, oldest first, at most `limit`; None: all."""
    later = select(contributor_merges).where(contributor_merges.c.sequence > sequence)
    rows = connection.execute(later.order_by(contributor_merges.c.sequence).limit(limit))
    return tuple(map(_merge_of, rows))


def latest_merge() -> ScalarSelect[int]:
    """Sequence number of the latest record, as a part of a statement; 0: there is none."""
    return select(func.coalesce(func.max(contributor_merges.c.sequence), 0)).scalar_subquery()


def standing_merges(records: Iterable[Merge]) -> tuple[Merge, ...]:
    """The latest record about each pair, oldest first, from all records, oldest first."""
    latest = {record.pair: record for record in records}
    return tuple(sorted(latest.values(), key=lambda record: record.sequence))


def people_of(standing: Iterable[Merge], bearers: Bearers = NO_BEARERS) -> People:
    """Which names and ids are one person.

    Args:
        standing: Latest record about each pair, oldest first.
        bearers: Names and ids of the corpus.
    """
    merged = [record for record in standing if record.is_merged]
    written = {one.key: one.shown for record in merged for one in (record.other, record.person)}
    return People(bearers, [(record.person.key, record.other.key) for record in merged], written)


def _merge_of(row: Row[Any]) -> Merge:
    fields = dict(row._mapping)
    person, other = (PersonReference.read(fields.pop(name)) for name in ("person", "other"))
    return Merge(person=person, other=other, action=MergeAction(fields.pop("action")), **fields)
