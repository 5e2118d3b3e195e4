"""The time by which an answer must be ready."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from creditline.errors import DeadlineExceeded


@dataclass(frozen=True)
class Deadline:
    """A time limit that all stages of one answer share."""

    expires: float
    """Time at which the deadline passes, on the monotonic clock."""
    allowed_seconds: float
    """Duration of the limit, for errors."""

    @classmethod
    def after(cls, seconds: float, *, waited: float = 0.0) -> Deadline:
        """A deadline `seconds` from now, or from a time `waited` seconds ago."""
        return cls(time.monotonic() + seconds - waited, seconds)

    def remaining(self, before: str) -> float:
        """Remaining time in seconds, more than 0.

        Args:
            before: The next stage, named in the error, such as "searching the index".

        Raises:
            DeadlineExceeded: No time remains.
        """
        left = self.expires - time.monotonic()
        if left <= 0:
            raise self._passed(f"before {before}")
        return left

    @asynccontextmanager
    async def enforced(self) -> AsyncIterator[None]:
        """Cancel the block when the deadline passes, and raise DeadlineExceeded."""
        try:
            async with asyncio.timeout(max(self.expires - time.monotonic(), 0.0)):
                yield
        except TimeoutError as error:
            raise self._passed("before the answer was ready") from error

    def _passed(self, when: str) -> DeadlineExceeded:
        return DeadlineExceeded(
            f"the deadline of {self.allowed_seconds:.3g} s passed {when}; allow more time"
        )
