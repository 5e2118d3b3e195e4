"""Conversion of times to and from protobuf timestamps, in UTC."""

from __future__ import annotations

from datetime import UTC, datetime

from google.protobuf.timestamp_pb2 import Timestamp


def timestamp_message(moment: datetime | None) -> Timestamp | None:
    """Convert a time to a timestamp; None gives None, an absent field."""
    if moment is None:
        return None
    stamp = Timestamp()
    stamp.FromDatetime(moment)
    return stamp


def read_timestamp(stamp: Timestamp) -> datetime:
    """Convert a timestamp to a time in UTC."""
    return stamp.ToDatetime(tzinfo=UTC)
