"""Moments in time as protobuf timestamps, in UTC."""

from __future__ import annotations

from datetime import UTC, datetime

from google.protobuf.timestamp_pb2 import Timestamp


def timestamp_message(moment: datetime | None) -> Timestamp | None:
    """A moment as a message; None stays absent."""
    if moment is None:
        return None
    stamp = Timestamp()
    stamp.FromDatetime(moment)
    return stamp


def read_timestamp(stamp: Timestamp) -> datetime:
    """The moment of a message, in UTC."""
    return stamp.ToDatetime(tzinfo=UTC)
