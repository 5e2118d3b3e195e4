"""Tables of the ledger. Migrations create them; a test compares the migrations with this module."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import (
    Column,
    DateTime,
    Dialect,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
)

_ID_LENGTH = 32
_HASH_LENGTH = 64
_KEY_ID_LENGTH = 16
_TRACE_PARENT_LENGTH = 55
MOST_SUBJECT_CHARACTERS = 500
# A name or an id, and whether it is one or the other.
MOST_PERSON_CHARACTERS = MOST_SUBJECT_CHARACTERS + 10
MOST_REASON_CHARACTERS = 1_000
MOST_REQUESTER_CHARACTERS = 200
MOST_OWNER_CHARACTERS = 200
MOST_NOTE_CHARACTERS = 200
MOST_REQUEST_ID_CHARACTERS = 128


class UtcDateTime(TypeDecorator[datetime]):
    """A time in UTC, also on databases without time zones (SQLite)."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """The value in UTC, as it is stored."""
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """The stored value, in UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


metadata = MetaData()


def _owner(name: str) -> Column[str]:
    """Column of an API key's owner; empty in rows of before, and where no key is needed."""
    return Column(name, String(MOST_OWNER_CHARACTERS), nullable=False, server_default="")


attributions = Table(
    "attributions",
    metadata,
    Column("sequence", Integer, primary_key=True, autoincrement=True),
    Column("id", String(_ID_LENGTH), nullable=False, unique=True),
    Column("created", UtcDateTime, nullable=False),
    Column("release", String(200), nullable=False),
    Column("generator", String(_HASH_LENGTH), nullable=False),
    Column("corpus", String(_HASH_LENGTH), nullable=False),
    Column("prompt", Text, nullable=False),
    Column("image", LargeBinary, nullable=False),
    Column("k", Integer, nullable=False),
    Column("answer", Text, nullable=False),
    _owner("owner"),
    Column("previous_hash", String(_HASH_LENGTH), nullable=False),
    Column("hash", String(_HASH_LENGTH), nullable=False, unique=True),
    Index("attributions_by_owner", "owner", "sequence"),
)

# Rows are removed after a day; `creditline.ledger.api.replies` explains the columns.
request_ids = Table(
    "request_ids",
    metadata,
    Column("owner", String(MOST_OWNER_CHARACTERS), primary_key=True),
    Column("request_id", String(MOST_REQUEST_ID_CHARACTERS), primary_key=True),
    Column("digest", String(_HASH_LENGTH), nullable=False),
    Column("attribution_id", String(_ID_LENGTH), ForeignKey("attributions.id"), nullable=False),
    Column("reply", LargeBinary, nullable=False),
    Column("created", UtcDateTime, nullable=False),
    Index("request_ids_by_creation", "created"),
)

audits = Table(
    "audits",
    metadata,
    Column("id", String(_ID_LENGTH), primary_key=True),
    Column("attribution_id", String(_ID_LENGTH), ForeignKey("attributions.id"), nullable=False, unique=True),
    Column("release", String(200), nullable=False),
    Column("state", String(16), nullable=False),
    Column("created", UtcDateTime, nullable=False),
    Column("started", UtcDateTime),
    Column("finished", UtcDateTime),
    Column("lease_until", UtcDateTime),
    Column("worker", String(200)),
    Column("verdict", Text),
    Column("error", Text),
    # Form of the audited answer: the accuracy of each is stated apart.
    Column("form", String(16), nullable=False, server_default="FAST"),
    # Copies of the verdict's two headline figures, so that a release's accuracy is one aggregate.
    Column("recall", Double),
    Column("missed_influence", Double),
    Index("audits_by_release", "release", "state"),
    Index("audits_by_creation", "created", "id"),
)

outbox = Table(
    "outbox",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("audit_id", String(_ID_LENGTH), ForeignKey("audits.id"), nullable=False),
    Column("task", String(100), nullable=False),
    Column("payload", Text, nullable=False),
    Column("created", UtcDateTime, nullable=False),
    Column("published_at", UtcDateTime),
    Column("trace_parent", String(_TRACE_PARENT_LENGTH), nullable=False, server_default=""),
    Index("outbox_by_publication", "published_at"),
)

# Append-only: the latest row of each owner about a subject is in force.
withdrawals = Table(
    "withdrawals",
    metadata,
    Column("sequence", Integer, primary_key=True, autoincrement=True),
    Column("id", String(_ID_LENGTH), nullable=False, unique=True),
    Column("created", UtcDateTime, nullable=False),
    Column("kind", String(16), nullable=False),
    Column("subject", String(MOST_SUBJECT_CHARACTERS), nullable=False),
    Column("action", String(16), nullable=False),
    Column("reason", String(MOST_REASON_CHARACTERS), nullable=False),
    Column("requested_by", String(MOST_REQUESTER_CHARACTERS), nullable=False),
    _owner("owner"),
    _owner("made_by"),
    Column("previous_hash", String(_HASH_LENGTH), nullable=False),
    Column("hash", String(_HASH_LENGTH), nullable=False, unique=True),
    Index("withdrawals_by_subject", "kind", "subject", "sequence"),
)

# Append-only: the latest row about a pair of people is in force.
contributor_merges = Table(
    "contributor_merges",
    metadata,
    Column("sequence", Integer, primary_key=True, autoincrement=True),
    Column("id", String(_ID_LENGTH), nullable=False, unique=True),
    Column("created", UtcDateTime, nullable=False),
    Column("person", String(MOST_PERSON_CHARACTERS), nullable=False),
    Column("other", String(MOST_PERSON_CHARACTERS), nullable=False),
    Column("action", String(16), nullable=False),
    Column("reason", String(MOST_REASON_CHARACTERS), nullable=False),
    Column("requested_by", String(MOST_REQUESTER_CHARACTERS), nullable=False),
    Column("previous_hash", String(_HASH_LENGTH), nullable=False),
    Column("hash", String(_HASH_LENGTH), nullable=False, unique=True),
)

# Append-only: statements that a generator was trained on works added to a release, and what became of them.
additions = Table(
    "additions",
    metadata,
    Column("sequence", Integer, primary_key=True, autoincrement=True),
    Column("id", String(_ID_LENGTH), nullable=False, unique=True),
    Column("created", UtcDateTime, nullable=False),
    Column("kind", String(16), nullable=False),
    Column("addition", String(_ID_LENGTH), nullable=False),
    Column("release", String(200), nullable=False),
    Column("generator", String(_HASH_LENGTH), nullable=False),
    Column("requested_by", String(MOST_REQUESTER_CHARACTERS), nullable=False),
    Column("content", Text, nullable=False),
    Column("previous_hash", String(_HASH_LENGTH), nullable=False),
    Column("hash", String(_HASH_LENGTH), nullable=False, unique=True),
    Index("additions_by_release", "release", "sequence"),
)

# The only table with secrets, and it holds their hashes; `creditline.ledger.keys` explains the columns.
api_keys = Table(
    "api_keys",
    metadata,
    Column("id", String(_KEY_ID_LENGTH), primary_key=True),
    Column("owner", String(MOST_OWNER_CHARACTERS), nullable=False),
    Column("scopes", String(200), nullable=False),
    Column("digest", String(_HASH_LENGTH), nullable=False),
    Column("note", String(MOST_NOTE_CHARACTERS), nullable=False),
    Column("created", UtcDateTime, nullable=False),
    Column("expires", UtcDateTime),
    Column("revoked", UtcDateTime),
    Column("last_used", UtcDateTime),
    Column("replaced_by", String(_KEY_ID_LENGTH)),
    Column("rate", String(40)),
    Column("quota", String(40)),
    Column("version", Integer, nullable=False, unique=True),
)

# Beside the chain, whose rows never change; `creditline.ledger.api.undelivered` explains it.
undelivered = Table(
    "undelivered",
    metadata,
    Column("attribution_id", String(_ID_LENGTH), ForeignKey("attributions.id"), primary_key=True),
    Column("marked", UtcDateTime, nullable=False),
    Column("delivered_later", UtcDateTime),
)

# Recorded answers until their gateway confirms that they were sent; rows are removed then.
# `creditline.ledger.api.undelivered` explains it.
unconfirmed = Table(
    "unconfirmed",
    metadata,
    Column("attribution_id", String(_ID_LENGTH), ForeignKey("attributions.id"), primary_key=True),
    Column("created", UtcDateTime, nullable=False),
)
