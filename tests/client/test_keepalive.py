"""A gateway that vanishes without closing its connection is noticed while a call waits for it."""

from __future__ import annotations

import threading
import time

import pytest

from creditline.client import CreditlineClient
from tests.client.scripted_gateway import RELEASE, scripted_gateway
from tests.faults.tcp_proxy import Fate, ForwardAll, Script, TcpProxy

_DEADLINE_SECONDS = 90.0


class _FirstConnection:
    """Scripts of connections: the first one falls silent on demand, later ones work."""

    def __init__(self) -> None:
        self.is_silent = threading.Event()
        self._opened = 0

    def script(self) -> Script:
        self._opened += 1
        return self if self._opened == 1 else ForwardAll()

    def on_request(self, chunk: bytes) -> Fate:
        return Fate.DROP if self.is_silent.is_set() else Fate.FORWARD

    on_reply = on_request


@pytest.mark.heavy
def test_a_silent_connection_is_replaced_before_the_deadline() -> None:
    first = _FirstConnection()
    with (
        scripted_gateway() as (target, script),
        TcpProxy(int(target.rpartition(":")[2]), script=first.script) as proxy,
        CreditlineClient(
            f"127.0.0.1:{proxy.port}", timeout_seconds=_DEADLINE_SECONDS, keepalive_seconds=10.0
        ) as client,
    ):
        client.release()
        first.is_silent.set()
        started = time.monotonic()
        assert client.release().release.name == RELEASE
        waited = time.monotonic() - started
    # A check after ten seconds at the latest, and ten seconds for its answer.
    assert 5.0 < waited < 40.0
    assert len(script.times) == 2
