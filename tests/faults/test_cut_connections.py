"""A connection that is closed under a call, or goes silent.

gRPC 1.85.1 puts a call on a connection whose end it has not seen yet, and fails it with "Stream removed
(Socket closed)": one call in four just after a cut, measured here. Reads are therefore sent again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from creditline.errors import DeadlineExceeded, Unavailable
from creditline.index import WorkIndex, WorkSearch
from creditline.index.connection.channel import NOTICED_SECONDS, channel_options
from tests.faults.lost_replies import LostReply
from tests.faults.tcp_proxy import Fate, TcpProxy
from tests.index.works_made_up import WIDTH, made_up_works, unit_vectors
from tests.local.qdrant_process import RunningQdrant, local_qdrant

_CUTS = 40
_BUILD = "works-made-up.1"
_SECONDS = 10.0


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningQdrant]:
    with (
        local_qdrant(tmp_path_factory.mktemp("qdrant")) as process,
        WorkIndex.connect(grpc_port=process.port) as index,
    ):
        index.create(_BUILD, WIDTH)
        index.upsert(_BUILD, made_up_works(unit_vectors(3)))
        yield process


def test_a_read_on_a_connection_that_was_just_cut_is_answered(running: RunningQdrant) -> None:
    with TcpProxy(running.port) as proxy, WorkIndex.connect(grpc_port=proxy.port) as index:
        for _ in range(_CUTS):
            assert index.exists(_BUILD)
            proxy.cut()


def test_a_search_on_a_connection_that_was_just_cut_is_answered(running: RunningQdrant) -> None:
    async def found(proxy: TcpProxy) -> set[str]:
        async with WorkSearch.connect(grpc_port=proxy.port) as search:
            found = set()
            for _ in range(_CUTS):
                hits = await search.search(_BUILD, unit_vectors(3)[1], 1, deadline_seconds=_SECONDS)
                found.add(hits[0].work_id)
                proxy.cut()
            return found

    with TcpProxy(running.port) as proxy:
        assert asyncio.run(found(proxy)) == {"work-1"}


def test_a_write_whose_reply_is_lost_is_not_sent_again(running: RunningQdrant) -> None:
    loss = LostReply("Collections/Create")
    with (
        TcpProxy(running.port, script=loss.script) as proxy,
        WorkIndex.connect(grpc_port=proxy.port) as index,
        pytest.raises(Unavailable),
    ):
        index.create("works-made-up.2", WIDTH)
    assert loss.lost.is_set()
    assert loss.calls["Collections/Create"] == 1


class _Silenced:
    """The script of a connection on which nothing arrives any more once it is silent."""

    silent = False

    def on_request(self, chunk: bytes) -> Fate:
        return Fate.DROP if self.silent else Fate.FORWARD

    on_reply = on_request


@pytest.mark.slow
def test_a_connection_that_has_gone_silent_is_replaced_while_searches_wait(running: RunningQdrant) -> None:
    connections: list[_Silenced] = []

    def connected() -> _Silenced:
        connections.append(_Silenced())
        return connections[-1]

    async def searched_again(port: int) -> float:
        async with WorkSearch.connect(grpc_port=port) as search:

            async def ask() -> None:
                hits = await search.search(_BUILD, unit_vectors(3)[1], 1, deadline_seconds=1.0)
                assert hits[0].work_id == "work-1"

            await ask()
            connections[0].silent, began = True, time.monotonic()
            with pytest.raises(DeadlineExceeded):
                await ask()
            while time.monotonic() - began < NOTICED_SECONDS + _SECONDS:
                try:
                    await ask()
                except (DeadlineExceeded, Unavailable):
                    continue
                return time.monotonic() - began
            return float("inf")

    with TcpProxy(running.port, script=connected) as proxy:
        assert asyncio.run(searched_again(proxy.port)) <= NOTICED_SECONDS + 2.0
    assert len(connections) == 2


@pytest.mark.heavy
def test_a_call_of_the_local_qdrant_that_takes_long_is_pinged_and_not_sent_away(
    running: RunningQdrant,
) -> None:
    with grpc.insecure_channel(f"127.0.0.1:{running.port}", channel_options()) as channel:
        watched = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(), timeout=60)
        assert next(watched).status == health_pb2.HealthCheckResponse.SERVING
        with pytest.raises(grpc.RpcError) as ended:
            next(watched)
    assert ended.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
