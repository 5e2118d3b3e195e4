"""Works added to a release after it was made: the operator's statements, and what became of them.

Works may be added only on a statement that a named generator was trained on them. Statement, completion
and every check of the calibration against the teacher are rows of one hash chain.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import cached_property
from typing import Any

from sqlalchemy import Connection, Row, insert, select

from creditline.errors import InvalidInput, NotFound
from creditline.ledger.chain import GENESIS, addition_hash
from creditline.ledger.tables import MOST_REQUESTER_CHARACTERS, additions

_FINGERPRINT_DIGITS = 64


class AdditionKind(StrEnum):
    """Kind of a record about added works; the values are stored and hashed, so they never change."""

    STATED = "STATED"
    """An operator states that a generator was trained on the works."""
    ADDED = "ADDED"
    """The works were written into the index."""
    CHECKED = "CHECKED"
    """The calibration was compared with the teacher's labels for the works."""


@dataclass(frozen=True)
class AdditionRecord:
    """One record about works added to a release."""

    sequence: int
    """Position in the chain, from 1."""
    id: str
    """Unique id: 32 hexadecimal digits."""
    created: datetime
    """Time at which it was recorded, in UTC."""
    kind: AdditionKind
    """What is recorded."""
    addition: str
    """Id of the statement that it belongs to; its own id for a statement."""
    release: str
    """Name of the release."""
    generator: str
    """Fingerprint of the generator that was trained on the works."""
    requested_by: str
    """Who stated it; may be empty."""
    content_json: str
    """Details, as JSON text: source, counts and place for a statement, the numbers of the others."""
    previous_hash: str
    """Hash of the record before it."""
    hash: str
    """Hash over `previous_hash` and the content, see `creditline.ledger.chain`."""

    @cached_property
    def content(self) -> Mapping[str, Any]:
        """The details, parsed."""
        parsed: Mapping[str, Any] = json.loads(self.content_json)
        return parsed


@dataclass(frozen=True)
class Additions:
    """All records about the works added to one release, oldest first."""

    records: tuple[AdditionRecord, ...] = ()
    """The records."""

    @property
    def sequence(self) -> int:
        """Position of the last record in the chain; 0 without records."""
        return self.records[-1].sequence if self.records else 0

    @property
    def statements(self) -> tuple[AdditionRecord, ...]:
        """The statements."""
        return tuple(record for record in self.records if record.kind is AdditionKind.STATED)

    @property
    def generators(self) -> frozenset[str]:
        """Fingerprints of all generators that a statement names."""
        return frozenset(record.generator for record in self.statements)

    def until(self, sequence: int) -> Additions:
        """The records up to a position in the chain."""
        return Additions(tuple(record for record in self.records if record.sequence <= sequence))

    def of_generator(self, generator: str) -> Additions:
        """The records about works that one generator was trained on."""
        return Additions(tuple(record for record in self.records if record.generator == generator))

    def statement(self, addition: str) -> AdditionRecord:
        """The statement with an id. Raises NotFound."""
        for record in self.statements:
            if record.id == addition:
                return record
        raise NotFound(
            f"the ledger has no addition {addition!r}; `creditline index add` prints the id of each",
            field="addition",
        )

    def is_added(self, addition: str) -> bool:
        """Whether all works of an addition were written."""
        return any(
            record.kind is AdditionKind.ADDED and record.addition == addition for record in self.records
        )

    @property
    def calibration_holds(self) -> str | None:
        """Outcome of the last check: `yes`, `no` or `unknown`; `no` stands until a later check says `yes`.

        None: there was no check.
        """
        outcome = None
        for record in self.records:
            if record.kind is AdditionKind.CHECKED:
                found = str(record.content.get("holds", "unknown"))
                outcome = outcome if outcome == "no" and found == "unknown" else found
        return outcome


def append_addition(
    connection: Connection,
    *,
    created: datetime,
    kind: AdditionKind,
    addition: str | None,
    release: str,
    generator: str,
    requested_by: str,
    content: Mapping[str, Any],
) -> AdditionRecord:
    """Append a record to the chain.

    Args:
        connection: A write transaction.
        created: Time of the record, with a time zone.
        kind: What is recorded.
        addition: Id of the statement; None: the record is one.
        release: Name of the release.
        generator: Fingerprint of the generator that was trained on the works.
        requested_by: Who states it.
        content: Details, as JSON.

    Raises:
        InvalidInput: The generator is no fingerprint, or `requested_by` is too long or not valid text.
    """
    check_statement(generator, requested_by)
    last = select(additions.c.hash).order_by(additions.c.sequence.desc()).limit(1)
    previous, own_id = connection.scalar(last) or GENESIS, uuid.uuid4().hex
    row: dict[str, Any] = {
        "id": own_id,
        "created": created,
        "kind": kind.value,
        "addition": addition or own_id,
        "release": release,
        "generator": generator,
        "requested_by": requested_by,
        "content": json.dumps(content, sort_keys=True),
    }
    chained = {**row, "previous_hash": previous, "hash": addition_hash(previous, row)}
    connection.execute(insert(additions).values(chained))
    return _record_of(connection.execute(select(additions).where(additions.c.id == own_id)).one())


def check_statement(generator: str, requested_by: str) -> None:
    """Validate the texts of a statement.

    Raises:
        InvalidInput: The generator is no fingerprint, or `requested_by` is too long or not valid text.
    """
    if len(generator) != _FINGERPRINT_DIGITS or set(generator) - set("0123456789abcdef"):
        raise InvalidInput(
            f"{generator!r} is not the fingerprint of a generator (64 hexadecimal digits); `creditline"
            " generator fingerprint DIRECTORY` prints it",
            field="trained_on",
        )
    is_text = "\x00" not in requested_by and not any(
        "\ud800" <= letter <= "\udfff" for letter in requested_by
    )
    if len(requested_by) > MOST_REQUESTER_CHARACTERS or not is_text:
        raise InvalidInput(
            f"requested_by must be plain text of at most {MOST_REQUESTER_CHARACTERS} characters; shorten it",
            field="requested_by",
        )


def additions_to(connection: Connection, release: str) -> Additions:
    """All records about works added to a release."""
    found = select(additions).where(additions.c.release == release).order_by(additions.c.sequence)
    return Additions(tuple(_record_of(row) for row in connection.execute(found)))


def _record_of(row: Row[Any]) -> AdditionRecord:
    fields = dict(row._mapping)
    return AdditionRecord(kind=AdditionKind(fields.pop("kind")), content_json=fields.pop("content"), **fields)
