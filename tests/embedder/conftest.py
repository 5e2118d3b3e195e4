"""A small real release, its model with the real towers, and an embedder that serves it in this process."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import pytest

from creditline.v1.embedder_pb2_grpc import EmbedderStub

if TYPE_CHECKING:
    from creditline.corpus.works import Corpus
    from creditline.encoder.model import EmbedderModel
    from creditline.release import Release

_START_SECONDS = 120
_DIRECT = (("grpc.enable_http_proxy", 0),)


@dataclass(frozen=True)
class Served:
    """An embedder's stub and addresses. port: of its gRPC, on the loopback address."""

    port: int
    stub: EmbedderStub
    channel: grpc.Channel
    metrics_url: str


@pytest.fixture(scope="session")
def embedder_release(small_corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Release:
    from creditline.distillation.release.development import write_development_release
    from creditline.distillation.training.feature_store import FeatureStore
    from creditline.towers.towers import Towers

    store = FeatureStore(Towers.open(), None, lambda line: None)
    directory: Path = tmp_path_factory.mktemp("embedder-release")
    return write_development_release(directory, small_corpus, store, width=16)


@pytest.fixture(scope="session")
def model(embedder_release: Release) -> EmbedderModel:
    from creditline.encoder.model import EmbedderModel
    from creditline.towers.spec import EMBEDDED

    return EmbedderModel.open(embedder_release.directory, EMBEDDED)


@pytest.fixture(scope="session")
def served(model: EmbedderModel, embedder_release: Release) -> Iterator[Served]:
    from creditline.embedder.server import EmbedderServer
    from creditline.embedder.settings import EmbedderSettings

    settings = EmbedderSettings(
        embedder_port=0,
        embedder_metrics_port=0,
        embedder_queue=32,
        release_directory=embedder_release.directory,
    )
    ports: list[tuple[int, int]] = []
    ready, stop = threading.Event(), asyncio.Event()
    loop = asyncio.new_event_loop()

    async def run() -> None:
        async with EmbedderServer(settings, model) as server:
            ports.append((server.grpc_port, server.metrics_port))
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(run(),))
    thread.start()
    assert ready.wait(_START_SECONDS)
    grpc_port, metrics_port = ports[0]
    with grpc.insecure_channel(f"127.0.0.1:{grpc_port}", options=_DIRECT) as channel:
        yield Served(grpc_port, EmbedderStub(channel), channel, f"http://127.0.0.1:{metrics_port}/metrics")
    loop.call_soon_threadsafe(stop.set)
    thread.join()
    loop.close()
