"""Limits of what callers can hold or delay, on both faces."""

from __future__ import annotations

from dataclasses import dataclass

from creditline.pictures.queries import MOST_BYTES

MOST_REQUEST_BYTES = MOST_BYTES + (1 << 20)
"""Largest request: the largest picture, and room for the other fields and the form's boundaries."""
MOST_HEAD_BYTES = 16 << 10
"""Largest head of an HTTP request: its first line and its headers."""


@dataclass(frozen=True)
class Limits:
    """Numbers and times; the defaults suit every gateway."""

    requests: int = 1_024
    """Requests that are answered at the same time, of each face."""
    received: int = 32
    """gRPC messages that are received at the same time; each may have the largest size."""
    receive_seconds: float = 30.0
    """Longest time in which a gRPC message arrives."""
    open_received: int = 4
    """Health checks that are received at the same time: they need no key."""
    open_receive_seconds: float = 1.0
    """Longest time in which a health check arrives; its message fits into one packet."""
    head_seconds: float = 10.0
    """Longest time in which the head of an HTTP request arrives."""
    chunk_seconds: float = 10.0
    """Longest time between two parts of an HTTP request's body."""
    body_seconds: float = 60.0
    """Longest time in which an HTTP request's body arrives."""
    linger_seconds: float = 5.0
    """Time in which a refused HTTP caller may send the rest of its body, to read the answer afterwards."""
    linger_bytes: int = 32 << 20
    """Bytes of that rest."""
    unread_seconds: float = 30.0
    """Longest time in which an HTTP caller does not read its answer."""
