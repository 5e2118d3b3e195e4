"""An embedder as a process of its own, as it is deployed."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from creditline.local.health import grpc_serves
from creditline.local.services import StackPorts

_START_SECONDS = 300.0


@dataclass(frozen=True)
class RunningEmbedder:
    """A running process and its address."""

    process: subprocess.Popen[bytes]
    target: str


@contextmanager
def real_embedder(release: Path) -> Iterator[RunningEmbedder]:
    """An embedder of the release on a free port; it ends with the block."""
    port = StackPorts.free().embedder
    environment = {
        **os.environ,
        "CREDITLINE_RELEASE_DIRECTORY": str(release),
        "CREDITLINE_EMBEDDER_PORT": str(port),
        "CREDITLINE_EMBEDDER_METRICS_PORT": "0",
    }
    running = RunningEmbedder(
        subprocess.Popen([sys.executable, "-m", "creditline.embedder"], env=environment), f"127.0.0.1:{port}"
    )
    try:
        deadline = time.monotonic() + _START_SECONDS
        while not grpc_serves(running.target):
            assert running.process.poll() is None, "the embedder ended while it started"
            assert time.monotonic() < deadline, "the embedder did not start"
            time.sleep(0.1)
        yield running
    finally:
        running.process.terminate()
        running.process.wait(60)
