"""A small real release, and gateways that run on free loopback ports inside the test's process."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
import pytest

from creditline.calibration import Calibration
from creditline.client import NO_RETRIES, CreditlineClient
from creditline.corpus.openclipart import embedded_corpus
from creditline.gateway.server import Gateway
from creditline.gateway.settings import GatewaySettings
from creditline.gateway.transport.limits import Limits
from creditline.release import (
    CALIBRATION,
    ENCODER,
    MODEL_CARD,
    Release,
    write_manifest,
    write_work_vectors,
)

if TYPE_CHECKING:
    from tests.gateway.served import Served

GENERATOR = "a" * 64
_WORKS = 60
_WIDTH = 16
_START_SECONDS = 60
# Nothing listens on the discard port.
NOBODY = "127.0.0.1:9"


@dataclass(frozen=True)
class RunningGateway:
    """A gateway that serves, and its two addresses."""

    settings: GatewaySettings
    target: str
    url: str

    def client(self, **options: Any) -> CreditlineClient:
        return CreditlineClient(self.target, **{"retries": NO_RETRIES, **options})

    def http(self, **options: Any) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=30, trust_env=False, **options)


@contextmanager
def running_gateway(settings: GatewaySettings, limits: Limits | None = None) -> Iterator[RunningGateway]:
    """Run a gateway on an event loop of its own, in a thread, for the length of the block."""
    started: threading.Event = threading.Event()
    outcome: dict[str, Any] = {}

    async def run() -> None:
        outcome["loop"], outcome["stop"] = asyncio.get_running_loop(), asyncio.Event()
        async with Gateway(settings, limits or Limits()) as gateway:
            outcome["ports"] = gateway.grpc_port, gateway.http_port
            started.set()
            await outcome["stop"].wait()

    def guarded() -> None:
        try:
            asyncio.run(run())
        except BaseException as error:
            outcome["error"] = error
        finally:
            started.set()

    thread = threading.Thread(target=guarded)
    thread.start()
    assert started.wait(_START_SECONDS)
    if "ports" not in outcome:
        thread.join()
        raise outcome["error"]
    grpc_port, http_port = outcome["ports"]
    try:
        yield RunningGateway(settings, f"127.0.0.1:{grpc_port}", f"http://127.0.0.1:{http_port}")
    finally:
        outcome["loop"].call_soon_threadsafe(outcome["stop"].set)
        thread.join(_START_SECONDS)
        assert not thread.is_alive()
    assert "error" not in outcome, outcome["error"]


def gateway_settings(directory: Path, release: Release, **changes: Any) -> GatewaySettings:
    """Settings on free ports; unless changed, the services that the gateway needs are all down."""
    defaults: dict[str, Any] = {
        "gateway_grpc_port": 0,
        "gateway_http_port": 0,
        "embedder_target": NOBODY,
        "qdrant_grpc_port": 9,
        "broker_url": f"redis://{NOBODY}/0",
        "ledger_url": f"sqlite:///{directory}/ledger.db",
        "release_directory": release.directory,
        "stop_grace_seconds": 1.0,
    }
    return GatewaySettings(**{**defaults, **changes})


@pytest.fixture(scope="session")
def release(tmp_path_factory: pytest.TempPathFactory) -> Release:
    """Sixty real works with made-up vectors; its encoder is for nobody to load."""
    directory = tmp_path_factory.mktemp("release")
    corpus = embedded_corpus()
    ids = corpus.ids[:: len(corpus) // _WORKS][:_WORKS]
    vectors = np.random.default_rng(7).normal(size=(_WORKS, _WIDTH)).astype(np.float32)
    write_work_vectors(directory, ids, vectors)
    (directory / ENCODER).write_bytes(b"no encoder")
    (directory / CALIBRATION).write_text(Calibration((0.0, 0.3, 1.0), (-0.1, 0.0, 1.0)).to_json())
    (directory / MODEL_CARD).write_text("# A release for tests\n")
    return write_manifest(
        directory,
        {
            "name": "gateway-test",
            "created": "2026-05-04T12:00:00+00:00",
            "generator_fingerprint": GENERATOR,
            "corpus_name": corpus.name,
            "corpus_fingerprint": corpus.fingerprint,
            "towers_fingerprint": "c" * 64,
            "width": _WIDTH,
            "works": _WORKS,
            "figures": {},
        },
    )


@pytest.fixture(scope="session")
def lonely_gateway(tmp_path_factory: pytest.TempPathFactory, release: Release) -> Iterator[RunningGateway]:
    """A gateway whose embedder, Qdrant and Redis are all down; its ledger works."""
    settings = gateway_settings(tmp_path_factory.mktemp("gateway"), release)
    with running_gateway(settings) as gateway:
        yield gateway


@pytest.fixture(scope="session")
def locked_gateway(tmp_path_factory: pytest.TempPathFactory, release: Release) -> Iterator[RunningGateway]:
    """A gateway that accepts the keys `right` and `other`; the services that it needs are all down."""
    settings = gateway_settings(tmp_path_factory.mktemp("locked"), release, api_keys="right,other")
    with running_gateway(settings) as gateway:
        yield gateway


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Real Redis, Qdrant and embedder processes, and a gateway in front of them."""
    from creditline.corpus.works import write_corpus
    from creditline.local.settings import LocalSettings
    from creditline.local.stack import LocalStack
    from tests.gateway.served import Served, mixed_corpus, untrained_release

    directory, corpus = tmp_path_factory.mktemp("served"), mixed_corpus()
    release, works = untrained_release(directory / "release", corpus, GENERATOR), directory / "mixed.parquet"
    write_corpus(corpus, works)
    with LocalStack(
        state_directory=directory / "stack",
        release_directory=release.directory,
        services=("redis", "qdrant", "embedder"),
        settings=LocalSettings(corpus_file=works),
    ) as stack:
        settings = gateway_settings(
            directory,
            release,
            corpus_file=works,
            embedder_target=stack.embedder_target,
            qdrant_grpc_port=stack.qdrant_port,
            broker_url=stack.broker_url,
            # The machine may be busy with other things than this.
            request_timeout_seconds=120.0,
        )
        with running_gateway(settings) as gateway:
            yield Served(gateway, release, corpus, stack.embedder_target)


@pytest.fixture(scope="session")
def filled_qdrant(tmp_path_factory: pytest.TempPathFactory, served: Served) -> Path:
    """The directory of a local Qdrant that holds the release of `served`; a test starts one on a copy."""
    from creditline.index import WorkIndex, index_release
    from tests.local.qdrant_process import local_qdrant

    directory = tmp_path_factory.mktemp("filled") / "qdrant"
    with (
        local_qdrant(directory) as running,
        WorkIndex.connect(grpc_port=running.port) as index,
    ):
        index_release(served.release, served.corpus, index)
    return directory
