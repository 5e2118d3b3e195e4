"""Withdrawal requests in the ledger: appending them, and the state that results."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, func, insert, select

from creditline.corpus.withdrawn import Withdrawn
from creditline.errors import InvalidInput, NotFound
from creditline.ledger.chain import GENESIS, withdrawal_hash
from creditline.ledger.records import Withdrawal, WithdrawalAction, WithdrawalKind
from creditline.ledger.tables import (
    MOST_REASON_CHARACTERS,
    MOST_REQUESTER_CHARACTERS,
    MOST_SUBJECT_CHARACTERS,
    withdrawals,
)


def check_request(subject: str, reason: str, requested_by: str) -> None:
    """Validate the texts of a withdrawal request.

    Raises:
        InvalidInput: A text is too long or has characters that cannot be stored, or the subject is empty.
    """
    if not subject.strip():
        raise InvalidInput("neither a work nor a contributor is named; give an id or a name", field="subject")
    for field, text, most in (
        ("subject", subject, MOST_SUBJECT_CHARACTERS),
        ("reason", reason, MOST_REASON_CHARACTERS),
        ("requested_by", requested_by, MOST_REQUESTER_CHARACTERS),
    ):
        if len(text) > most:
            raise InvalidInput(
                f"{field} has {len(text):,} characters; shorten it to at most {most:,}", field=field
            )
        if "\x00" in text or any("\ud800" <= letter <= "\udfff" for letter in text):
            raise InvalidInput(
                f"{field} has characters that are not valid text (NUL or surrogates); send plain text",
                field=field,
            )


def standing_request(connection: Connection, kind: WithdrawalKind, subject: str) -> Withdrawal | None:
    """Latest withdrawal request about a subject; None: there is none."""
    about = (withdrawals.c.kind == kind, withdrawals.c.subject == subject)
    newest = select(withdrawals).where(*about).order_by(withdrawals.c.sequence.desc()).limit(1)
    found = connection.execute(newest).one_or_none()
    return None if found is None else _withdrawal_of(found)


def append_request(
    connection: Connection,
    *,
    created: datetime,
    kind: WithdrawalKind,
    subject: str,
    action: WithdrawalAction,
    reason: str,
    requested_by: str,
) -> Withdrawal:
    """Append a withdrawal request to the chain.

    Args:
        connection: A write transaction.
        created: Time of the request, with a time zone.
        kind: Whether the subject is a work or a contributor.
        subject: Id of the work, or name of the contributor.
        action: Whether the subject is withdrawn or its withdrawal is revoked.
        reason: Why it was requested.
        requested_by: Who requested it.
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
    }
    chained = {**row, "previous_hash": previous, "hash": withdrawal_hash(previous, row)}
    written = connection.execute(insert(withdrawals).values(chained))
    return Withdrawal(sequence=_primary_key(written.inserted_primary_key), **chained)


def _primary_key(key: Row[Any] | None) -> int:
    assert key is not None
    return int(key[0])


def requests_after(connection: Connection, sequence: int, limit: int | None) -> tuple[Withdrawal, ...]:
    """Withdrawal requests after a sequence number, oldest first, at most `limit`; None: all."""
    later = select(withdrawals).where(withdrawals.c.sequence > sequence).order_by(withdrawals.c.sequence)
    return tuple(_withdrawal_of(row) for row in connection.execute(later.limit(limit)))


def standing_requests(connection: Connection) -> tuple[Withdrawal, ...]:
    """Latest withdrawal request about each subject, oldest first."""
    newest = select(func.max(withdrawals.c.sequence)).group_by(withdrawals.c.kind, withdrawals.c.subject)
    standing = select(withdrawals).where(withdrawals.c.sequence.in_(newest)).order_by(withdrawals.c.sequence)
    return tuple(_withdrawal_of(row) for row in connection.execute(standing))


def withdrawn_by(requests: Iterable[Withdrawal]) -> Withdrawn:
    """The withdrawn works and contributors that result from requests.

    Args:
        requests: Latest request about each subject.
    """
    subjects: dict[tuple[WithdrawalKind, bool], set[str]] = {}
    sequence = 0
    for request in requests:
        subjects.setdefault((request.kind, request.is_withdrawn), set()).add(request.subject)
        sequence = max(sequence, request.sequence)

    def named(kind: WithdrawalKind, *, left_out: bool) -> frozenset[str]:
        return frozenset(subjects.get((kind, left_out), ()))

    return Withdrawn(
        works=named(WithdrawalKind.WORK, left_out=True),
        contributors=named(WithdrawalKind.CONTRIBUTOR, left_out=True),
        sequence=sequence,
        revoked_works=named(WithdrawalKind.WORK, left_out=False),
        revoked_contributors=named(WithdrawalKind.CONTRIBUTOR, left_out=False),
    )


def never_withdrawn(kind: WithdrawalKind, subject: str) -> NotFound:
    """The error for revoking a withdrawal that does not exist."""
    return NotFound(
        f"{kind.value.lower()} {subject!r} was never withdrawn, so there is nothing to revoke; "
        "`creditline withdraw --list` shows what is withdrawn",
        field="subject",
    )


def _withdrawal_of(row: Row[Any]) -> Withdrawal:
    fields = dict(row._mapping)
    kind, action = WithdrawalKind(fields.pop("kind")), WithdrawalAction(fields.pop("action"))
    return Withdrawal(kind=kind, action=action, **fields)
