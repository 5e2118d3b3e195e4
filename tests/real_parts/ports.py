"""Free loopback ports and waits with a limit."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable

LOOPBACK = "127.0.0.1"


def free_port() -> int:
    """A loopback port that is free now."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def wait_until(what: str, holds: Callable[[], bool], *, seconds: float = 60.0) -> None:
    """Wait for a condition.

    Args:
        what: the condition in words, for the failure's message.
        holds: asked every 20 ms.
        seconds: the limit.
    """
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what}"
        time.sleep(0.02)
