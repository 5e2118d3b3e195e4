"""API keys: who may call the gateway, for what, and until when.

A key is 256 random bits behind a public id. The ledger holds only its SHA-256. A slow hash (bcrypt, Argon2)
protects passwords, which people choose from few; nobody can try out 2^256 keys, and a slow hash would let
callers without a key occupy a processor with every attempt.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, Row, func, insert, or_, select, update

from creditline.errors import Conflict, InvalidInput, NotFound
from creditline.ledger.allowances import Allowance
from creditline.ledger.database.store import Store
from creditline.ledger.tables import MOST_NOTE_CHARACTERS, MOST_OWNER_CHARACTERS, api_keys

_PREFIX = "clk"
_ID_BYTES = 8
_SECRET_BYTES = 32
_FORM = re.compile(rf"{_PREFIX}_(?P<id>[0-9a-f]{{{2 * _ID_BYTES}}})_[0-9a-f]{{{2 * _SECRET_BYTES}}}")
_KEY_ID = re.compile(rf"[0-9a-f]{{{2 * _ID_BYTES}}}")
_LONGEST_LIFE = timedelta(days=3_660)


class Scope(StrEnum):
    """What a key permits; the values are stored."""

    ATTRIBUTE = "attribute"
    """Attribute pictures."""
    READ = "read"
    """Read the owner's own attributions, their pictures and audits, and withdrawals."""
    AUDIT = "audit"
    """Request audits of the owner's own attributions."""
    WITHDRAW = "withdraw"
    """Withdraw works and contributors, and revoke the owner's own withdrawals."""
    ADMIN = "admin"
    """Everything, for all owners."""


class KeyState(StrEnum):
    """State of a key at one moment."""

    VALID = "valid"
    EXPIRED = "expired"
    REVOKED = "revoked"


@dataclass(frozen=True)
class ApiKey:
    """An API key as the ledger holds it, without the key itself; times are in UTC."""

    id: str
    """Public id: 16 hexadecimal digits, part of the key."""
    owner: str
    """On whose behalf the key acts; rows in the ledger carry it."""
    scopes: frozenset[Scope]
    """What the key permits."""
    digest: str = field(repr=False)
    """SHA-256 of the whole key: 64 hexadecimal digits."""
    note: str
    """What the operator wrote about it; may be empty."""
    created: datetime
    """Time at which it was made."""
    expires: datetime | None
    """Time from which it is no longer valid; None: no limit."""
    revoked: datetime | None
    """Time at which it was revoked; None: it was not."""
    last_used: datetime | None
    """A time at which it was used, some minutes old at most; None: it was not used yet."""
    replaced_by: str | None
    """Id of the key that a rotation made in its place; None: it was not rotated."""
    rate: Allowance | None
    """Requests in a short time that the key may send; None: the gateway's default."""
    quota: Allowance | None
    """Pictures in a long time that the key may have attributed; None: the gateway's default."""
    version: int
    """Number of the last change among the changes of all keys; uses are no changes."""

    def state(self, now: datetime) -> KeyState:
        """State of the key at a time."""
        if self.revoked is not None:
            return KeyState.REVOKED
        expired = self.expires is not None and self.expires <= now
        return KeyState.EXPIRED if expired else KeyState.VALID

    def matches(self, text: str) -> bool:
        """Whether a text is this key, compared in constant time."""
        return secrets.compare_digest(self.digest, digest_of(text))


@dataclass(frozen=True)
class IssuedKey:
    """A key that was just made: the only moment at which its text is known."""

    text: str = field(repr=False)
    """The key that its owner sends."""
    record: ApiKey
    """What the ledger holds of it."""


def digest_of(text: str) -> str:
    """SHA-256 of a key: 64 hexadecimal digits."""
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()


def id_in(text: str) -> str | None:
    """The public id in a text that has the form of a key; None for any other text."""
    found = _FORM.fullmatch(text)
    return found["id"] if found else None


class KeyRegistry:
    """The API keys of one ledger. Calls block; each is one transaction, and raises Unavailable when the
    database does not answer.

    Args:
        store: The database.
        clock: Returns the current time, with a time zone.
    """

    def __init__(self, store: Store, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._clock = clock

    def create(
        self,
        owner: str,
        scopes: Collection[Scope],
        *,
        expires_in: timedelta | None = None,
        note: str = "",
        rate: Allowance | None = None,
        quota: Allowance | None = None,
    ) -> IssuedKey:
        """Make a key.

        Args:
            owner: On whose behalf the key acts; several keys may have one owner.
            scopes: What it permits.
            expires_in: Time for which it is valid; None: no limit.
            note: What to remember about it.
            rate: Requests in a short time; None: the gateway's default.
            quota: Attributed pictures in a long time; None: the gateway's default.

        Raises:
            InvalidInput: The owner or the note is not valid text, there is no scope, or the time is not
                positive.
        """
        _check_text("owner", owner, MOST_OWNER_CHARACTERS)
        if note:
            _check_text("note", note, MOST_NOTE_CHARACTERS)
        if not scopes:
            raise InvalidInput(f"the key permits nothing; choose from {_SCOPE_NAMES}", field="scopes")
        with self._store.transaction(writes=True) as connection:
            kept = _Kept(owner, frozenset(scopes), note, rate, quota)
            return _issue(connection, self._clock(), kept, expires_in)

    def rotate(self, key_id: str, *, overlap: timedelta, expires_in: timedelta | None = None) -> IssuedKey:
        """Make a key like another one in place of it, which stays valid for a while.

        Args:
            key_id: Id of the key to replace.
            overlap: Time for which both are valid; the old one's own expiry is not moved further away.
            expires_in: Time for which the new one is valid; None: as long as the old one was made for.

        Raises:
            InvalidInput: `key_id` has not the form of an id, or a time is negative.
            NotFound: There is no such key.
            Conflict: The key is revoked, expired, or was rotated before.
        """
        if overlap < timedelta(0):
            raise InvalidInput(f"the overlap is {overlap}; give 0 or more", field="overlap")
        with self._store.transaction(writes=True) as connection:
            old, now = _one(connection, key_id), self._clock()
            _check_rotatable(old, now)
            life = expires_in or (old.expires - old.created if old.expires else None)
            kept = _Kept(old.owner, old.scopes, old.note, old.rate, old.quota)
            issued = _issue(connection, now, kept, life)
            ends = min(filter(None, (old.expires, now + overlap)))
            _change(connection, old.id, expires=ends, replaced_by=issued.record.id)
        return issued

    def revoke(self, key_id: str) -> ApiKey:
        """Revoke a key for ever; a repeated call changes nothing.

        Raises:
            InvalidInput: `key_id` has not the form of an id.
            NotFound: There is no such key.
        """
        with self._store.transaction(writes=True) as connection:
            if _one(connection, key_id).revoked is None:
                _change(connection, key_id, revoked=self._clock())
            return _one(connection, key_id)

    def limit(self, key_id: str, *, rate: Allowance | None, quota: Allowance | None) -> ApiKey:
        """Set the rate and the quota of a key.

        Args:
            key_id: Id of the key.
            rate: Requests in a short time; None: the gateway's default.
            quota: Attributed pictures in a long time; None: the gateway's default.

        Raises:
            InvalidInput: `key_id` has not the form of an id.
            NotFound: There is no such key.
        """
        with self._store.transaction(writes=True) as connection:
            _one(connection, key_id)
            _change(connection, key_id, rate=_stored(rate), quota=_stored(quota))
            return _one(connection, key_id)

    def get(self, key_id: str) -> ApiKey:
        """One key.

        Raises:
            InvalidInput: `key_id` has not the form of an id.
            NotFound: There is no such key.
        """
        with self._store.transaction() as connection:
            return _one(connection, key_id)

    def all(self) -> tuple[ApiKey, ...]:
        """All keys ever made, oldest first."""
        return tuple(sorted(self.changed_after(0), key=lambda key: (key.created, key.id)))

    def changed_after(self, version: int) -> tuple[ApiKey, ...]:
        """Keys that were made or changed after a version, in the order of their last changes."""
        changed = select(api_keys).where(api_keys.c.version > version).order_by(api_keys.c.version)
        with self._store.transaction() as connection:
            return tuple(map(_key_of, connection.execute(changed)))

    def record_uses(self, uses: Mapping[str, datetime]) -> None:
        """Record when keys were last used, unless a later use is recorded already.

        Args:
            uses: Time of the last use by key id.
        """
        if not uses:
            return
        with self._store.transaction(writes=True) as connection:
            for key_id, used in uses.items():
                earlier = or_(api_keys.c.last_used.is_(None), api_keys.c.last_used < used)
                this = update(api_keys).where(api_keys.c.id == key_id, earlier)
                connection.execute(this.values(last_used=used))


_SCOPE_NAMES = ", ".join(Scope)


@dataclass(frozen=True)
class _Kept:
    """What a key keeps when it is rotated."""

    owner: str
    scopes: frozenset[Scope]
    note: str
    rate: Allowance | None
    quota: Allowance | None


def _stored(allowance: Allowance | None) -> str | None:
    return None if allowance is None else str(allowance)


def _issue(connection: Connection, now: datetime, kept: _Kept, expires_in: timedelta | None) -> IssuedKey:
    if expires_in is not None and not timedelta(0) < expires_in <= _LONGEST_LIFE:
        raise InvalidInput(
            f"the key would be valid for {expires_in}; give a time above 0 and up to"
            f" {_LONGEST_LIFE.days:,} days, or no limit",
            field="expires_in",
        )
    key_id = secrets.token_hex(_ID_BYTES)
    text = f"{_PREFIX}_{key_id}_{secrets.token_hex(_SECRET_BYTES)}"
    connection.execute(
        insert(api_keys).values(
            id=key_id,
            owner=kept.owner,
            scopes=",".join(sorted(kept.scopes)),
            digest=digest_of(text),
            note=kept.note,
            created=now,
            expires=None if expires_in is None else now + expires_in,
            version=_next_version(connection),
            rate=_stored(kept.rate),
            quota=_stored(kept.quota),
        )
    )
    return IssuedKey(text, _one(connection, key_id))


def _check_text(name: str, text: str, most: int) -> None:
    if not text.strip() or len(text) > most:
        raise InvalidInput(f"{name} has {len(text.strip()):,} characters; give 1 to {most:,}", field=name)
    if not text.isprintable() or text != text.strip():
        raise InvalidInput(
            f"{name} {text!a} has control characters or blanks at its ends; leave them out", field=name
        )


def _check_rotatable(key: ApiKey, now: datetime) -> None:
    state = key.state(now)
    if state is not KeyState.VALID:
        raise Conflict(f"key {key.id} is {state}; make a new one with `creditline keys create`", field="id")
    if key.replaced_by is not None:
        raise Conflict(
            f"key {key.id} was rotated before; rotate the key in its place, {key.replaced_by}", field="id"
        )


def _one(connection: Connection, key_id: str) -> ApiKey:
    if not _KEY_ID.fullmatch(key_id):
        raise InvalidInput(
            f"{key_id[: 2 * _ID_BYTES]!a}… is not the id of a key, 16 hexadecimal digits; "
            "`creditline keys list` shows the ids",
            field="id",
        )
    row = connection.execute(select(api_keys).where(api_keys.c.id == key_id)).one_or_none()
    if row is None:
        raise NotFound(f"there is no key {key_id}; `creditline keys list` shows all", field="id")
    return _key_of(row)


def _change(connection: Connection, key_id: str, **values: Any) -> None:
    changed = {**values, "version": _next_version(connection)}
    connection.execute(update(api_keys).where(api_keys.c.id == key_id).values(changed))


def _next_version(connection: Connection) -> int:
    """Write transactions run one at a time, so versions are in the order of their commits."""
    return (connection.scalar(select(func.max(api_keys.c.version))) or 0) + 1


def _key_of(row: Row[Any]) -> ApiKey:
    fields = dict(row._mapping)
    scopes = frozenset(map(Scope, fields.pop("scopes").split(",")))
    for name in ("rate", "quota"):
        fields[name] = None if fields[name] is None else Allowance.parse(fields[name])
    return ApiKey(scopes=scopes, **fields)
