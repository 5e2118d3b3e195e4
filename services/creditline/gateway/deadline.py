"""The moment by which an answer must be there."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from creditline.errors import DeadlineExceeded


@dataclass(frozen=True)
class Deadline:
    """`allowed_seconds` from the moment it was made; `expires` is on the monotonic clock."""

    expires: float
    allowed_seconds: float

    @classmethod
    def after(cls, seconds: float) -> Deadline:
        """A deadline `seconds` from now."""
        return cls(time.monotonic() + seconds, seconds)

    def remaining(self, before: str) -> float:
        """Seconds left, more than 0. Raises DeadlineExceeded, naming what could not be done any more."""
        left = self.expires - time.monotonic()
        if left <= 0:
            raise self._passed(f"before {before}")
        return left

    @asynccontextmanager
    async def held(self) -> AsyncIterator[None]:
        """Break the block off when the deadline passes. Raises DeadlineExceeded."""
        try:
            async with asyncio.timeout(max(self.expires - time.monotonic(), 0.0)):
                yield
        except TimeoutError as error:
            raise self._passed("before the answer was there") from error

    def _passed(self, when: str) -> DeadlineExceeded:
        return DeadlineExceeded(
            f"the deadline of {self.allowed_seconds:.3g} s passed {when}; allow more time"
        )
