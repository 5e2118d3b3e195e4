"""Restarts of services that ended: how often, and after which delay."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from creditline.errors import Unavailable
from creditline.local.processes import ServiceProcess
from creditline.retries import RetryPolicy

# Five restarts after 1 to 16 s; a service that then ran this long starts with a fresh count.
RESTARTS = RetryPolicy(initial_delay_seconds=1.0, factor=2.0, max_delay_seconds=30.0, max_attempts=6)
_SETTLED_SECONDS = 600.0


@dataclass
class Restarts:
    """The restarts of one stack's services."""

    policy: RetryPolicy = RESTARTS
    """Delays, and the number of attempts to run a service."""
    report: Callable[[str], None] = lambda line: None
    """Receives one line for each restart."""
    counts: dict[str, int] = field(default_factory=dict)
    """Number of restarts of each service since the stack was started."""
    _recent: dict[str, int] = field(default_factory=dict)
    _due: dict[str, float] = field(default_factory=dict)

    def count(self, service: str) -> int:
        """Number of restarts of a service since the stack was started."""
        return self.counts.get(service, 0)

    def keep_running(self, process: ServiceProcess) -> bool:
        """Restart a service that has ended, once its delay is over; does not block.

        Args:
            process: The service.

        Returns:
            Whether it was restarted now.

        Raises:
            Unavailable: It ended, and was restarted as often as the policy allows.
        """
        name, now = process.plan.name, time.monotonic()
        if process.exit_status() is None:
            if now - process.began > _SETTLED_SECONDS:
                self._recent.pop(name, None)
            return False
        if name not in self._due:
            self._due[name] = now + self._next_delay(process)
        if now < self._due[name]:
            return False
        del self._due[name]
        self._recent[name] = self._recent.get(name, 0) + 1
        self.counts[name] = self.count(name) + 1
        process.restart()
        self.report(f"{name} started again at {process.plan.address}, restart {self.count(name)}")
        return True

    def _next_delay(self, process: ServiceProcess) -> float:
        """Delay before the next restart. Raises Unavailable, with the end of the log, if none is left."""
        name, done = process.plan.name, self._recent.get(process.plan.name, 0)
        most = (self.policy.max_attempts or done + 2) - 1
        if done >= most:
            try:
                process.refuse_if_ended()
            except Unavailable as ended:
                if most:
                    ended.add_note(
                        f"It was restarted {most} times; `creditline local up` starts all services again."
                    )
                raise
        delay = self.policy.delay(done)
        self.report(f"{name} ended with status {process.exit_status()}; it starts again in {delay:.0f} s")
        return delay
