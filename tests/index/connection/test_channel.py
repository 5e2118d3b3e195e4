"""Connections to Qdrant, and their end after an interrupt at a bad moment."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

from creditline.credentials.qdrant import QdrantCredentials
from creditline.index.connection.channel import QdrantConnection
from creditline.index.connection.failures import QdrantAddress
from creditline.qdrant_messages import qdrant

# gRPC has registered a call when it gets here, and nothing waits for the call's end yet.
_LATE_IN_THE_START = "_run_channel_spin_thread"


def _interrupted_at(function: str, start: Callable[[], object]) -> None:
    """Run `start` with Ctrl-C once a function of that name is entered."""

    def interrupt(frame: FrameType, event: str, argument: Any) -> None:
        if event == "call" and frame.f_code.co_name == function:
            sys.setprofile(None)
            raise KeyboardInterrupt

    sys.setprofile(interrupt)
    try:
        start()
    finally:
        sys.setprofile(None)


def test_a_connection_is_closed_though_the_start_of_a_call_was_interrupted() -> None:
    connection = QdrantConnection(QdrantAddress("127.0.0.1", 9), QdrantCredentials())
    with pytest.raises(KeyboardInterrupt):
        _interrupted_at(_LATE_IN_THE_START, lambda: connection.points.Upsert.future(qdrant.UpsertPoints()))
    closing = threading.Thread(target=connection.close, daemon=True)
    closing.start()
    closing.join(30)
    assert not closing.is_alive(), "gRPC waits for a call that nothing ends"
