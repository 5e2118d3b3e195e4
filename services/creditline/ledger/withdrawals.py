"""Withdrawal requests in the ledger: appending them, and the state that results."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, ScalarSelect, func, insert, select

from creditline.corpus.identity import People
from creditline.corpus.withdrawn import Withdrawn
from creditline.errors import NotFound, PermissionDenied
from creditline.ledger.chain import GENESIS, withdrawal_hash
from creditline.ledger.merges import people_of
from creditline.ledger.records import Merge, Withdrawal, WithdrawalAction, WithdrawalKind
from creditline.ledger.tables import withdrawals


def standing_request(
    connection: Connection, kind: WithdrawalKind, subject: str, owner: str | None
) -> Withdrawal | None:
    """The request in force about a subject in any spelling; None: there is none.

    Ledgers of before have requests about several spellings of one name; the subject is withdrawn while one
    of them is.

    Args:
        connection: A transaction.
        kind: Kind of the subject.
        subject: Id of the work, or name or id of the contributor.
        owner: Owner of the request; None: any.
    """
    key = kind.key(subject)
    about = [
        request
        for request in standing_requests(connection)
        if request.kind is kind and kind.key(request.subject) == key and owner in (None, request.owner)
    ]
    return max(about, key=lambda request: (request.is_withdrawn, request.sequence), default=None)


def withdrawals_of_work(connection: Connection, work_id: str) -> tuple[Withdrawal, ...]:
    """Withdrawals in force of one work, of all owners, oldest first."""
    return tuple(
        request
        for request in standing_requests(connection)
        if request.is_withdrawn and request.kind is WithdrawalKind.WORK and request.subject == work_id
    )


def withdrawn_members(connection: Connection, key: str, people: People) -> tuple[Withdrawal, ...]:
    """Withdrawals in force of any name or id of one person, in any spelling, oldest first.

    Args:
        connection: A transaction.
        key: Key of the person.
        people: Which names and ids are one person.
    """
    same = people.same(key)
    return tuple(
        request
        for request in standing_requests(connection)
        if request.is_withdrawn
        and request.kind is not WithdrawalKind.WORK
        and request.kind.key(request.subject) in same
    )


def append_request(
    connection: Connection,
    *,
    created: datetime,
    kind: WithdrawalKind,
    subject: str,
    action: WithdrawalAction,
    reason: str,
    requested_by: str,
    owner: str,
    made_by: str,
) -> Withdrawal:
    """Append a withdrawal request to the chain.

    Args:
        connection: A write transaction.
        created: Time of the request, with a time zone.
        kind: Kind of the subject.
        subject: Id of the work, or name or id of the contributor.
        action: Whether the subject is withdrawn or its withdrawal is revoked.
        reason: Why it was requested.
        requested_by: Who requested it.
        owner: Owner of the withdrawal.
        made_by: Owner of the API key that makes the request.
    """
    last = select(withdrawals.c.hash).order_by(withdrawals.c.sequence.desc()).limit(1)
    previous = connection.scalar(last) or GENESIS
    row: dict[str, Any] = {
        "id": uuid.uuid4().hex,
        "created": created,
        "kind": kind,
        "subject": subject,
        "action": action,
        "reason": reason,
        "requested_by": requested_by,
        "owner": owner,
        "made_by": made_by,
    }
    chained = {**row, "previous_hash": previous, "hash": withdrawal_hash(previous, row)}
    written = connection.execute(insert(withdrawals).values(chained))
    return Withdrawal(sequence=_primary_key(written.inserted_primary_key), **chained)


def _primary_key(key: Row[Any] | None) -> int:
    assert key is not None
    return int(key[0])


def requests_after(
    connection: Connection, sequence: int, limit: int | None, owner: str | None = None
) -> tuple[Withdrawal, ...]:
    """Withdrawal requests after a sequence number, oldest first, at most `limit`, of `owner`; None: all."""
    later = select(withdrawals).where(withdrawals.c.sequence > sequence).order_by(withdrawals.c.sequence)
    if owner is not None:
        later = later.where(withdrawals.c.owner == owner)
    return tuple(_withdrawal_of(row) for row in connection.execute(later.limit(limit)))


def latest_request() -> ScalarSelect[int]:
    """Sequence number of the latest withdrawal request, as a part of a statement; 0: there is none."""
    return select(func.coalesce(func.max(withdrawals.c.sequence), 0)).scalar_subquery()


def standing_requests(connection: Connection) -> tuple[Withdrawal, ...]:
    """Latest withdrawal request of each owner about each subject as it is written, oldest first."""
    columns = (withdrawals.c.kind, withdrawals.c.subject, withdrawals.c.owner)
    newest = select(func.max(withdrawals.c.sequence)).group_by(*columns)
    standing = select(withdrawals).where(withdrawals.c.sequence.in_(newest)).order_by(withdrawals.c.sequence)
    return tuple(_withdrawal_of(row) for row in connection.execute(standing))


def withdrawn_by(
    requests: Iterable[Withdrawal], merges: Iterable[Merge] = (), people: People | None = None
) -> Withdrawn:
    """The withdrawn works and contributors that result from requests.

    Args:
        requests: Latest request of each owner about each subject; it is withdrawn while one of them is.
        merges: Latest record about each pair of merged contributors.
        people: Which names and ids are one person; None: as the merges have it.
    """
    merges = tuple(merges)
    people = people_of(merges) if people is None else people
    subjects: dict[tuple[WithdrawalKind, bool], set[str]] = {}
    keys: dict[bool, set[str]] = {True: set(), False: set()}
    sequence = 0
    for request in requests:
        subjects.setdefault((request.kind, request.is_withdrawn), set()).add(request.subject)
        if request.kind is not WithdrawalKind.WORK:
            keys[request.is_withdrawn].add(request.kind.key(request.subject))
        sequence = max(sequence, request.sequence)
    apart = {key for merge in merges if not merge.is_merged for key in merge.pair}

    def named(kind: WithdrawalKind, *, left_out: bool) -> frozenset[str]:
        withdrawn = frozenset(subjects.get((kind, True), ()))
        return withdrawn if left_out else frozenset(subjects.get((kind, False), ())) - withdrawn

    return Withdrawn(
        works=named(WithdrawalKind.WORK, left_out=True),
        contributors=named(WithdrawalKind.CONTRIBUTOR, left_out=True),
        sequence=sequence,
        revoked_works=named(WithdrawalKind.WORK, left_out=False),
        revoked_contributors=named(WithdrawalKind.CONTRIBUTOR, left_out=False),
        contributor_ids=named(WithdrawalKind.CONTRIBUTOR_ID, left_out=True),
        revoked_contributor_ids=named(WithdrawalKind.CONTRIBUTOR_ID, left_out=False),
        also=_with_same_people(keys[True], people) - keys[True],
        formerly=_with_same_people(keys[False] | apart, people) - keys[False],
        merges=max((merge.sequence for merge in merges), default=0),
    )


def _with_same_people(keys: Iterable[str], people: People) -> frozenset[str]:
    found: frozenset[str] = frozenset()
    return found.union(*map(people.withdrawn_with, keys))


def never_withdrawn(kind: WithdrawalKind, subject: str) -> NotFound:
    """The error for revoking a withdrawal that does not exist."""
    return NotFound(
        f"{kind.noun} {subject!r} was never withdrawn, so there is nothing to revoke; "
        "`creditline withdraw --list` shows what is withdrawn",
        field="subject",
    )


def withdrawn_by_another(kind: WithdrawalKind, subject: str) -> PermissionDenied:
    """The error for revoking a withdrawal of another owner."""
    return PermissionDenied(
        f"{kind.noun} {subject!r} was withdrawn by another owner; only that owner or an admin can revoke it",
        field="subject",
    )


def _withdrawal_of(row: Row[Any]) -> Withdrawal:
    fields = dict(row._mapping)
    kind, action = WithdrawalKind(fields.pop("kind")), WithdrawalAction(fields.pop("action"))
    return Withdrawal(kind=kind, action=action, **fields)
