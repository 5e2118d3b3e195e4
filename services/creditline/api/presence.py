"""Fields of protobuf messages that may be absent."""

from __future__ import annotations

from datetime import datetime

from google.protobuf.message import Message

from creditline.api.timestamps import read_timestamp


def present_number(message: Message, field: str) -> float | None:
    """Value of an optional numeric field; None when it is absent."""
    return getattr(message, field) if message.HasField(field) else None


def present_flag(message: Message, field: str) -> bool | None:
    """Value of an optional flag; None when it is absent."""
    return getattr(message, field) if message.HasField(field) else None


def present_moment(message: Message, field: str) -> datetime | None:
    """Value of a timestamp field in UTC; None when it is absent."""
    return read_timestamp(getattr(message, field)) if message.HasField(field) else None
