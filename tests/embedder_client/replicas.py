"""Replicas of the embedder: real servers on one port of several loopback addresses, with a quick model."""

from __future__ import annotations

import asyncio
import io
import random
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import Any, cast

import numpy as np
from PIL import Image

from creditline.devices import PROCESSOR
from creditline.embedder.server import EmbedderServer
from creditline.embedder.settings import EmbedderSettings
from creditline.encoder.model import Embedded, EmbedderModel, EmbedItem
from creditline.release import Release, open_release, reference_release_directory
from tests.embedder_client.name_server import NameServer

CONNECTION_AGE_SECONDS = 1.0
_START_SECONDS = 60


class CountingModel:
    """Embeds everything to the first axis and counts; raises `error` instead where one is set."""

    def __init__(self, release: Release, error: Exception | None = None) -> None:
        self.release = release
        self.device = PROCESSOR
        self.eager: dict[str, str] = {}
        self.error = error
        self.embedded = 0
        self.seconds = 0.0
        """Time that a picture takes."""
        self.largest_side = 0

    def prepared(self, item: EmbedItem) -> EmbedItem:
        return item

    def forward(self, items: Sequence[EmbedItem]) -> list[Embedded]:
        self.embedded += len(items)
        self.largest_side = max(self.largest_side, *(max(item.picture.size) for item in items))
        time.sleep(self.seconds * len(items))
        if self.error is not None:
            raise self.error
        vector = np.zeros(self.release.dimension, dtype=np.float32)
        vector[0] = 1.0
        return [
            Embedded(vector, ood_score=None, prompt_agreement=None, tower_ms=1.0, head_ms=0.5) for _ in items
        ]


@contextmanager
def replica(
    address: str,
    port: int,
    model: CountingModel,
    *,
    stop_grace_seconds: float = 5.0,
    connection_age_seconds: float = CONNECTION_AGE_SECONDS,
    max_batch: int = 1,
) -> Iterator[int]:
    """An embedder at `address`, on an event loop of its own; gives its port. It ends as on SIGTERM."""
    settings = EmbedderSettings(
        embedder_host=address,
        embedder_port=port,
        embedder_metrics_port=0,
        embedder_max_batch=max_batch,
        embedder_max_wait_ms=0.0,
        embedder_connection_age_seconds=connection_age_seconds,
        embedder_stop_grace_seconds=stop_grace_seconds,
    )
    started, outcome = threading.Event(), dict[str, Any]()

    async def run() -> None:
        outcome["loop"], outcome["stop"] = asyncio.get_running_loop(), asyncio.Event()
        async with EmbedderServer(settings, cast(EmbedderModel, model)) as server:
            outcome["port"] = server.grpc_port
            started.set()
            await outcome["stop"].wait()

    thread = threading.Thread(target=lambda: asyncio.run(run()), daemon=True)
    thread.start()
    assert started.wait(_START_SECONDS)
    try:
        yield outcome["port"]
    finally:
        outcome["loop"].call_soon_threadsafe(outcome["stop"].set)
        thread.join(_START_SECONDS)
        assert not thread.is_alive()


@contextmanager
def replica_process(address: str, port: int) -> Iterator[tuple[int, int]]:
    """An embedder at `address` in a process of its own, to be frozen; gives its process id and port."""
    command = [sys.executable, "-m", __name__, address, str(port)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.pid, int(process.stdout.readline())
        finally:
            process.kill()


def _serve_until_end_of_input(address: str, port: int) -> None:
    model = CountingModel(open_release(reference_release_directory()))
    with replica(address, port, model, connection_age_seconds=300.0) as bound:
        print(bound, flush=True)
        sys.stdin.read()


def _port_for_all_addresses() -> int:
    """A port that no other process has on any address, below those that Linux gives to connections."""
    for port in random.sample(range(20_000, 32_000), 100):
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("0.0.0.0", port))
            return port
    raise AssertionError("none of 100 ports is free")


class Replicas:
    """Replicas of one embedder on one port and the name server that knows their addresses."""

    def __init__(self, names: NameServer) -> None:
        self.release = open_release(reference_release_directory())
        self.models: dict[str, CountingModel] = {}
        self._names = names
        self._running: dict[str, ExitStack] = {}
        self._port = _port_for_all_addresses()

    @property
    def target(self) -> str:
        return self._names.target(self._port)

    @property
    def port(self) -> int:
        """The port of all replicas."""
        return self._port

    def name(self, address: str) -> None:
        """Name a replica that is run by somebody else."""
        self._names.addresses = [*self._names.addresses, address]

    @property
    def counts(self) -> dict[str, int]:
        """Embedded pictures by address, of the replicas that run."""
        return {address: self.models[address].embedded for address in self._running}

    def add(
        self,
        address: str,
        *,
        error: Exception | None = None,
        stop_grace_seconds: float = 5.0,
        connection_age_seconds: float = CONNECTION_AGE_SECONDS,
        max_batch: int = 1,
    ) -> None:
        """Start a replica, and then name it."""
        self.models[address] = CountingModel(self.release, error)
        running = ExitStack()
        self._port = running.enter_context(
            replica(
                address,
                self._port,
                self.models[address],
                stop_grace_seconds=stop_grace_seconds,
                connection_age_seconds=connection_age_seconds,
                max_batch=max_batch,
            )
        )
        self._running[address] = running
        self.name(address)

    def remove(self, address: str) -> None:
        """End a replica, and take its name away only then: clients still see it for a while."""
        self._running.pop(address).close()
        self._names.addresses = [each for each in self._names.addresses if each != address]

    def reset_counts(self) -> None:
        for model in self.models.values():
            model.embedded = 0

    def close(self) -> None:
        for running in self._running.values():
            running.close()


@contextmanager
def running_replicas() -> Iterator[Replicas]:
    """No replica at first; all are ended afterwards."""
    with NameServer() as names:
        replicas = Replicas(names)
        try:
            yield replicas
        finally:
            replicas.close()


def png(side_pixels: int = 8) -> bytes:
    """A picture of noise, about 3 bytes a pixel."""
    pixels = np.random.default_rng(0).integers(0, 256, (side_pixels, side_pixels, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


if __name__ == "__main__":
    _serve_until_end_of_input(sys.argv[1], int(sys.argv[2]))
