"""Replies that are kept for repeated requests, under the id that the caller gave its request."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, and_, delete, insert, select

from creditline.errors import Conflict
from creditline.ledger.tables import MOST_REQUEST_ID_CHARACTERS as MOST_REQUEST_ID_CHARACTERS
from creditline.ledger.tables import request_ids

KEPT_FOR = timedelta(hours=24)
"""Time for which a reply is kept."""


@dataclass(frozen=True)
class RequestKey:
    """What identifies a request that may be repeated."""

    owner: str
    """Owner of the API key; ids of different owners are different."""
    request_id: str
    """Id that the caller gave the request."""
    digest: str
    """SHA-256 of all that the request asks: 64 hexadecimal digits."""


@dataclass(frozen=True)
class KeptReply:
    """The reply to a request that was answered before."""

    attribution_id: str
    """Id of the recorded attribution."""
    reply: bytes
    """The reply, as it was first sent."""


@dataclass(frozen=True)
class ReplyOnce:
    """A request that is recorded once however often it is sent."""

    key: RequestKey
    """The request."""
    reply: Callable[[str], bytes]
    """Makes the reply from the id of the attribution; called inside the transaction that records it."""


def kept_reply(connection: Connection, key: RequestKey, now: datetime) -> KeptReply | None:
    """The reply that was given to this request before; None: it was not answered within `KEPT_FOR`.

    Raises:
        Conflict: The id was used for another request.
    """
    this = and_(request_ids.c.owner == key.owner, request_ids.c.request_id == key.request_id)
    row = connection.execute(select(request_ids).where(this)).one_or_none()
    if row is None or row.created <= now - KEPT_FOR:
        return None
    if row.digest != key.digest:
        raise Conflict(
            f"request_id {key.request_id!a} was used for another request, which was answered at"
            f" {row.created:%Y-%m-%d %H:%M:%S} UTC; send that request unchanged, or this one under a new id,"
            " such as a UUID4",
            field="request_id",
        )
    return KeptReply(row.attribution_id, row.reply)


def keep_reply(connection: Connection, key: RequestKey, kept: KeptReply, now: datetime) -> None:
    """Keep a reply, and remove those that were kept long enough."""
    connection.execute(delete(request_ids).where(request_ids.c.created <= now - KEPT_FOR))
    connection.execute(
        insert(request_ids).values(
            owner=key.owner,
            request_id=key.request_id,
            digest=key.digest,
            attribution_id=kept.attribution_id,
            reply=kept.reply,
            created=now,
        )
    )
