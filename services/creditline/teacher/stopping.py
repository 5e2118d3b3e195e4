"""A worker's stop: a running audit may go on for a grace period, then it goes back into the queue."""

from __future__ import annotations

import time
from collections.abc import Callable

from creditline.errors import CreditlineError


class GivenBack(CreditlineError):
    """The worker is stopping; the audit goes back into the queue for another worker."""


class Stop:
    """A request to stop, set by a signal handler and checked between blocks of works.

    Args:
        grace_seconds: time that a running audit may still take.
        clock: monotonic time in seconds.
    """

    def __init__(self, grace_seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._grace_seconds = grace_seconds
        self._clock = clock
        self._until: float | None = None

    def request(self) -> None:
        """Request a stop when the running audit has ended, or when the grace period is over."""
        if self._until is None:
            self._until = self._clock() + self._grace_seconds

    def refuse_when_over(self) -> None:
        """Raises GivenBack if a stop was requested and the grace period is over."""
        if self._until is not None and self._clock() >= self._until:
            raise GivenBack("the worker is stopping; another one will take the audit")
