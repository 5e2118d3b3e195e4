"""A connection that is closed under a call.

gRPC 1.85.1 puts a call on a connection whose end it has not seen yet, and fails it with "Stream removed
(Socket closed)": one call in four just after a cut, measured here. Reads are therefore sent again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from creditline.errors import Unavailable
from creditline.index import WorkIndex, WorkSearch
from tests.faults.lost_replies import LostReply
from tests.faults.tcp_proxy import TcpProxy
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
