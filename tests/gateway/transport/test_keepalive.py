"""Clients that check idle connections every ten seconds are not sent away by the gateway."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import grpc
import pytest
from grpc_health.v1 import health_pb2
from grpc_health.v1.health_pb2_grpc import HealthStub

from tests.gateway.conftest import RunningGateway

# Core ends a connection with too_many_pings at the third ping that comes too early.
_SECONDS = 45.0
_PING_MS = 10_000
_OPTIONS = (("grpc.keepalive_time_ms", _PING_MS), ("grpc.http2.max_pings_without_data", 0))


@contextmanager
def _connection(target: str, *, without_calls: bool) -> Iterator[list[grpc.ChannelConnectivity]]:
    """A connection that pings, with an open call or without any, and the states that it goes through."""
    options = (*_OPTIONS, ("grpc.keepalive_permit_without_calls", int(without_calls)))
    states: list[grpc.ChannelConnectivity] = []
    with grpc.insecure_channel(target, options=options) as channel:
        channel.subscribe(states.append, try_to_connect=True)
        grpc.channel_ready_future(channel).result(timeout=30)
        if without_calls:
            yield states
            return
        watch = HealthStub(channel).Watch(health_pb2.HealthCheckRequest(), timeout=10 * _SECONDS)
        first = threading.Thread(target=next, args=(watch,))
        first.start()
        first.join(30)
        yield states
        assert watch.is_active()
        watch.cancel()


@pytest.mark.heavy
def test_connections_that_ping_every_ten_seconds_stay(lonely_gateway: RunningGateway) -> None:
    with ExitStack() as opened:
        connections = [
            opened.enter_context(_connection(lonely_gateway.target, without_calls=idle))
            for idle in (True, False)
        ]
        time.sleep(_SECONDS)
        for states in connections:
            assert states[-1] is grpc.ChannelConnectivity.READY
            assert states.count(grpc.ChannelConnectivity.READY) == 1
