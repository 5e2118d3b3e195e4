"""The retry policy: how often a failed call is repeated, and the delay before each retry.

Every retry, back-off and polling loop of the package takes its delays from this module. The caller decides
which errors are transient.
"""

from __future__ import annotations

import asyncio
import itertools
import math
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Self, TypeVar

from creditline.errors import InvalidInput

Result = TypeVar("Result")
IsTransient = Callable[[Exception], bool]


def any_of(*kinds: type[Exception]) -> IsTransient:
    """A predicate that is true for instances of `kinds`."""
    return lambda error: isinstance(error, kinds)


@dataclass(frozen=True)
class RetryPolicy:
    """Exponential back-off with a cap, limited by a number of attempts, by a duration, by both or by neither.

    Raises:
        InvalidInput: A value is out of range.
    """

    initial_delay_seconds: float = 0.1
    """Delay before the first retry."""
    factor: float = 2.0
    """Growth of the delay per retry; 1 keeps it constant."""
    max_delay_seconds: float = 5.0
    """Cap of the delay."""
    jitter: float = 0.0
    """Part of each delay that is random, 0 to 1: a delay d becomes uniform in [(1 - jitter) d, d]."""
    max_attempts: int | None = None
    """Number of attempts, the first one included; None: no limit."""
    max_seconds: float | None = None
    """No retry starts later than this after the first attempt; None: no limit."""

    def __post_init__(self) -> None:
        valid = {
            "initial_delay_seconds": self.initial_delay_seconds >= 0.0,
            "factor": self.factor >= 1.0,
            "max_delay_seconds": self.max_delay_seconds >= 0.0,
            "jitter": 0.0 <= self.jitter <= 1.0,
            "max_attempts": self.max_attempts is None or self.max_attempts >= 1,
            "max_seconds": self.max_seconds is None or self.max_seconds >= 0.0,
        }
        for name, is_valid in valid.items():
            if not is_valid:
                raise InvalidInput(
                    f"{name} of a retry policy is {getattr(self, name)}, which is out of range", field=name
                )

    @classmethod
    def polling(cls, every_seconds: float, *, for_seconds: float | None = None) -> Self:
        """A constant delay without jitter, for waiting until a condition holds."""
        return cls(every_seconds, factor=1.0, max_delay_seconds=every_seconds, max_seconds=for_seconds)

    def grpc(self, codes: Sequence[str]) -> dict[str, Any]:
        """The policy as the `retryPolicy` of a gRPC service config, for a channel that repeats calls itself.

        Args:
            codes: Names of the statuses after which a call is repeated.
        """
        return {
            "maxAttempts": self.max_attempts,
            "initialBackoff": f"{self.initial_delay_seconds:.3f}s",
            "maxBackoff": f"{self.max_delay_seconds:.3f}s",
            "backoffMultiplier": self.factor,
            "retryableStatusCodes": list(codes),
        }

    def delay(self, retry: int, rng: random.Random | None = None) -> float:
        """Seconds to wait before retry number `retry`, counted from 0.

        Args:
            retry: Number of retries made before.
            rng: Source of the jitter, required by a policy that has jitter. Processes that must not retry in
                step need generators with different seeds.

        Raises:
            InvalidInput: The policy has jitter, and `rng` is missing.
        """
        delay = min(self.initial_delay_seconds * self._growth(retry), self.max_delay_seconds)
        if not self.jitter:
            return delay
        if rng is None:
            raise InvalidInput("a retry policy with jitter needs a random generator; pass rng", field="rng")
        return delay * (1.0 - self.jitter * rng.random())

    def attempts(self, rng: random.Random | None = None) -> Iterator[int]:
        """Numbers of the attempts, from 0; sleeps before each attempt except the first."""
        delays = self._delays(time.monotonic(), rng)
        yield 0
        for attempt, delay in enumerate(delays, start=1):
            time.sleep(delay)
            yield attempt

    async def attempts_async(self, rng: random.Random | None = None) -> AsyncIterator[int]:
        """`attempts` for an event loop: sleeps without blocking it."""
        delays = self._delays(time.monotonic(), rng)
        yield 0
        for attempt, delay in enumerate(delays, start=1):
            await asyncio.sleep(delay)
            yield attempt

    def call(
        self, action: Callable[[], Result], *, transient: IsTransient, rng: random.Random | None = None
    ) -> Result:
        """Result of `action`, repeated while it fails with a transient error and the policy allows a retry.

        Args:
            action: The call; it must be safe to repeat.
            transient: Whether a retry may help after an error.
            rng: Source of the jitter, required by a policy that has jitter.

        Raises:
            Exception: The first error that is not transient, or the last transient one.
        """
        failure: Exception | None = None
        for _ in self.attempts(rng):
            try:
                return action()
            except Exception as error:
                failure = _transient_or_raise(error, transient)
        raise failure or AssertionError("a retry policy allows at least one attempt")

    async def call_async(
        self,
        action: Callable[[], Awaitable[Result]],
        *,
        transient: IsTransient,
        rng: random.Random | None = None,
    ) -> Result:
        """`call` for an event loop; each attempt awaits the result of `action`."""
        failure: Exception | None = None
        async for _ in self.attempts_async(rng):
            try:
                return await action()
            except Exception as error:
                failure = _transient_or_raise(error, transient)
        raise failure or AssertionError("a retry policy allows at least one attempt")

    def _delays(self, started: float, rng: random.Random | None) -> Iterator[float]:
        """The delay in seconds before each allowed retry; `started`: monotonic time of the first attempt."""
        for retry in itertools.count():
            if self.max_attempts is not None and retry + 1 >= self.max_attempts:
                return
            delay = self.delay(retry, rng)
            if self.max_seconds is not None and time.monotonic() + delay > started + self.max_seconds:
                return
            yield delay

    def _growth(self, retry: int) -> float:
        try:
            return self.factor**retry
        except OverflowError:
            return math.inf


def _transient_or_raise(error: Exception, transient: IsTransient) -> Exception:
    if not transient(error):
        raise error
    return error
