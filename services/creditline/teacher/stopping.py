"""Being told to stop: audits may go on for a while, then they are given back."""

from __future__ import annotations

import time
from collections.abc import Callable

from creditline.errors import CreditlineError


class GivenBack(CreditlineError):
    """The worker stops; the audit is free for another worker."""


class Stop:
    """Set once, from a signal handler; looked at between blocks of works."""

    def __init__(self, grace_seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._grace_seconds = grace_seconds
        self._clock = clock
        self._until: float | None = None

    def ask(self) -> None:
        """Stop when the running audit has ended, or when the grace is over."""
        if self._until is None:
            self._until = self._clock() + self._grace_seconds

    def refuse_when_over(self) -> None:
        """Raises GivenBack when it is time to stop."""
        if self._until is not None and self._clock() >= self._until:
            raise GivenBack("the worker was told to stop; another one will take the audit")
