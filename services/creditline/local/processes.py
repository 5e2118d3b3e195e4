"""One service as a child process: started under a guardian, watched, and ended with all its children."""

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
# What the guardian itself needs after the service's grace.
_GUARDIAN_SECONDS = 3.0


@dataclass(frozen=True)
class ServicePlan:
    """How one service is started, and how one sees that it is healthy.

    `address` is for people; `is_healthy` answers within a few seconds.
    """

    name: str
    command: tuple[str, ...]
    address: str
    is_healthy: Callable[[], bool]
    environment: Mapping[str, str] = field(default_factory=dict)
    start_seconds: float = 30.0
    grace_seconds: float = 10.0


class ServiceProcess:
    """A started service. It ends with this process, even when this process is killed.

    Start it from a thread that lives as long as it should: Linux takes the end of the starting thread
    for the end of the parent.
    """

    def __init__(self, plan: ServicePlan, log: Path) -> None:
        self.plan = plan
        self.log = log
        self.began = time.monotonic()
        with log.open("wb") as output:
            self._guardian = subprocess.Popen(
                self._command(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **plan.environment},
                start_new_session=True,
            )

    def _command(self) -> list[str]:
        script = [sys.executable, "-I", "-S", str(Path(guardian.__file__))]
        return [*script, str(os.getpid()), str(self.plan.grace_seconds), *self.plan.command]

    @property
    def pid(self) -> int:
        """The guardian's pid: SIGTERM to it ends the service gracefully."""
        return self._guardian.pid

    def exit_status(self) -> int | None:
        """None while the service runs."""
        return self._guardian.poll()

    def wait_until_healthy(self) -> float:
        """Seconds since the start. Raises Unavailable with the log's tail when it ends or takes too long."""
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
        """Raises Unavailable with the log's tail when the service has ended."""
        status = self.exit_status()
        if status is not None:
            raise Unavailable(
                f"{self.plan.name} ended with status {status}; {self.log_tail()}", service=self.plan.name
            )

    def stop(self) -> None:
        """Stop gracefully, by force after the grace; returns when nothing of it is left."""
        if self.exit_status() is None:
            self._guardian.terminate()
        try:
            self._guardian.wait(self.plan.grace_seconds + _GUARDIAN_SECONDS)
        except subprocess.TimeoutExpired:
            self._guardian.kill()
            self._guardian.wait()

    def log_tail(self) -> str:
        """The last lines of the service's log, introduced by where it is."""
        with self.log.open("rb") as file:
            file.seek(max(0, self.log.stat().st_size - _LOG_TAIL_BYTES))
            lines = file.read().decode(errors="replace").splitlines()[-_LOG_TAIL_LINES:]
        if not lines:
            return f"its log {self.log} is empty"
        return "\n".join([f"the end of its log {self.log}:", *(f"  {line}" for line in lines)])
