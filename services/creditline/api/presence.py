"""Fields of messages that may be absent."""

from __future__ import annotations

from datetime import datetime

from google.protobuf.message import Message

from creditline.api.timestamps import read_timestamp


def present_number(message: Message, field: str) -> float | None:
    """The number of an optional field; None where it is absent."""
    return getattr(message, field) if message.HasField(field) else None


def present_moment(message: Message, field: str) -> datetime | None:
    """The moment of a timestamp field; None where it is absent."""
    return read_timestamp(getattr(message, field)) if message.HasField(field) else None
