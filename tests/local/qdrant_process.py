"""The local Qdrant as a separate process, for tests that stop or kill it."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from qdrant_client import QdrantClient, models

from creditline.local.health import grpc_serves
from creditline.local.services import StackPorts

_START_SECONDS = 120.0


@dataclass(frozen=True)
class RunningQdrant:
    """A running process and its port."""

    process: subprocess.Popen[bytes]
    port: int
    metrics_port: int

    @property
    def target(self) -> str:
        return f"127.0.0.1:{self.port}"


def start_qdrant(
    directory: Path, *, port: int | None = None, kill_after_alias_actions: int = 0
) -> RunningQdrant:
    """Start a process on free ports, or on the given one, and wait until it serves.

    kill_after_alias_actions: the process kills itself when it has saved so many; 0: never.
    """
    free = StackPorts.free()
    ports = replace(free, qdrant=port or free.qdrant)
    command = [
        *(sys.executable, "-m", "creditline.local.qdrant", "--directory", str(directory)),
        *("--grpc-port", str(ports.qdrant), "--metrics-port", str(ports.qdrant_metrics)),
        *("--kill-after-alias-actions", str(kill_after_alias_actions)),
    ]
    running = RunningQdrant(subprocess.Popen(command), ports.qdrant, ports.qdrant_metrics)
    deadline = time.monotonic() + _START_SECONDS
    while not grpc_serves(running.target):
        assert running.process.poll() is None, "the local Qdrant ended while it started"
        assert time.monotonic() < deadline, "the local Qdrant did not start"
        time.sleep(0.05)
    return running


def connect(running: RunningQdrant) -> QdrantClient:
    """Qdrant's own client, over gRPC only."""
    return QdrantClient(host="127.0.0.1", grpc_port=running.port, prefer_grpc=True, check_compatibility=False)


def wait_until_optimized(client: QdrantClient, name: str, *, seconds: float = 120.0) -> None:
    """Wait until the collection's status is green."""
    deadline = time.monotonic() + seconds
    while client.get_collection(name).status != models.CollectionStatus.GREEN:
        assert time.monotonic() < deadline, "the optimizer did not end"
        time.sleep(0.02)


@contextmanager
def local_qdrant(directory: Path, *, kill_after_alias_actions: int = 0) -> Iterator[RunningQdrant]:
    """A process that ends with the block; see `start_qdrant`."""
    running = start_qdrant(directory, kill_after_alias_actions=kill_after_alias_actions)
    try:
        yield running
    finally:
        running.process.terminate()
        running.process.wait(60)
