"""A service as a child process: started under a guardian, watched, and ended with all its children."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from creditline.errors import Unavailable
from creditline.local import guardian
from creditline.retries import RetryPolicy

_POLL_SECONDS = 0.05
_LOG_TAIL_LINES = 15
_LOG_TAIL_BYTES = 16_384
# Time that the guardian itself needs after the service's grace period.
_GUARDIAN_SECONDS = 3.0


@dataclass(frozen=True)
class ServicePlan:
    """How a service is started and probed."""

    name: str
    """Name of the service."""
    command: tuple[str, ...]
    """Program and arguments."""
    address: str
    """Address for messages and the state file."""
    is_healthy: Callable[[], bool]
    """Health probe; it must return within a few seconds."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Environment variables beyond those of this process."""
    start_seconds: float = 30.0
    """Longest time until the service is healthy."""
    grace_seconds: float = 10.0
    """Time between SIGTERM and SIGKILL when it is stopped."""


class ServiceProcess:
    """A running service. It ends with this process, even if this process is killed.

    Start it from a thread that lives as long as the service should: Linux treats the end of the starting
    thread as the end of the parent.

    Args:
        plan: how the service is started.
        log: file that receives its output; replaced if it exists.
    """

    def __init__(self, plan: ServicePlan, log: Path) -> None:
        self.plan = plan
        self.log = log
        self.began = time.monotonic()
        self._guardian = self._start("wb")

    def restart(self) -> None:
        """Start the service again after it has ended; its output is appended to the log."""
        self.began = time.monotonic()
        self._guardian = self._start("ab")

    def _start(self, mode: str) -> subprocess.Popen[bytes]:
        with self.log.open(mode) as output:
            return subprocess.Popen(
                self._command(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **self.plan.environment},
                start_new_session=True,
            )

    def _command(self) -> list[str]:
        script = [sys.executable, "-I", "-S", str(Path(guardian.__file__))]
        return [*script, str(os.getpid()), str(self.plan.grace_seconds), *self.plan.command]

    @property
    def pid(self) -> int:
        """Process id of the guardian; SIGTERM to it ends the service gracefully."""
        return self._guardian.pid

    def exit_status(self) -> int | None:
        """The service's exit status; None while it runs."""
        return self._guardian.poll()

    def wait_until_healthy(self) -> float:
        """Wait until the service is healthy; returns the seconds since its start.

        Raises:
            Unavailable: It ended, or took longer than `start_seconds`; the message holds the end of its log.
        """
        for _ in RetryPolicy.polling(_POLL_SECONDS, for_seconds=self.plan.start_seconds).attempts():
            self.refuse_if_ended()
            if self.plan.is_healthy():
                return time.monotonic() - self.began
        raise Unavailable(
            f"{self.plan.name} was not healthy at {self.plan.address} after "
            f"{self.plan.start_seconds:.0f} s; {self.log_tail()}",
            service=self.plan.name,
        )

    def refuse_if_ended(self) -> None:
        """Raises Unavailable, with the end of the log, if the service has ended."""
        status = self.exit_status()
        if status is not None:
            raise Unavailable(
                f"{self.plan.name} ended with status {status}; {self.log_tail()}", service=self.plan.name
            )

    def stop(self) -> None:
        """Stop the service, by force after the grace period; returns when all its processes have ended."""
        if self.exit_status() is None:
            self._guardian.terminate()
        try:
            self._guardian.wait(self.plan.grace_seconds + _GUARDIAN_SECONDS)
        except subprocess.TimeoutExpired:
            self._guardian.kill()
            self._guardian.wait()

    def log_tail(self) -> str:
        """The last lines of the service's log, after a line with the file's path."""
        with self.log.open("rb") as file:
            file.seek(max(0, self.log.stat().st_size - _LOG_TAIL_BYTES))
            lines = file.read().decode(errors="replace").splitlines()[-_LOG_TAIL_LINES:]
        if not lines:
            return f"its log {self.log} is empty"
        return "\n".join([f"the end of its log {self.log}:", *(f"  {line}" for line in lines)])
