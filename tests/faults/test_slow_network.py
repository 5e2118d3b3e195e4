"""An index behind a slow network."""

from __future__ import annotations

from pathlib import Path

from creditline.index import WorkIndex
from tests.faults.tcp_proxy import TcpProxy
from tests.local.qdrant_process import local_qdrant


def test_an_index_is_reached_although_connecting_is_slow(tmp_path: Path) -> None:
    with (
        local_qdrant(tmp_path / "qdrant") as running,
        TcpProxy(running.port) as proxy,
        WorkIndex.connect(grpc_port=proxy.port) as index,
    ):
        proxy.delay(0.2)
        assert index.collections() == []
