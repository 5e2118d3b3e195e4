"""One circuit breaker, for asyncio.

purgatory 3.0.1 and circuitbreaker 2.1.3 let every call through in the half-open state, where only one may
try, and purgatory counts a call that its caller cancelled as a failure; pybreaker 1.4.1 knows only Tornado's
coroutines.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass, field
from enum import IntEnum

from creditline.errors import DeadlineExceeded, Unavailable
from creditline.gateway.breakers.metrics import BreakerMetrics
from creditline.retries import RetryPolicy


@dataclass(frozen=True)
class BreakerPlan:
    """When a breaker opens, and for how long."""

    failures: int = 5
    """Number of failures in a row after which it opens."""
    open_times: RetryPolicy = field(
        default_factory=lambda: RetryPolicy(initial_delay_seconds=1.0, max_delay_seconds=15.0)
    )
    """Time for which it is open, longer after each trial that fails."""
    patience_seconds: float = 1.0
    """A call that its caller gave less time, or left earlier, says nothing about the service."""
    trial_seconds: float = 3.0
    """Longest time of a trial."""


class State(IntEnum):
    """State of a breaker, as metrics show it."""

    CLOSED = 0
    HALF_OPEN = 1
    OPEN = 2


class Breaker:
    """Refuses calls of a service that failed five times in a row; then one call after the other tries again.

    A failure is Unavailable, or no answer for more than a second. To be created on a running event loop.

    Args:
        service: Name of the service, one of `metrics.SERVICES`.
        metrics: Shows the state, and counts what is refused.
        plan: When it opens, and for how long.
    """

    def __init__(self, service: str, metrics: BreakerMetrics, plan: BreakerPlan | None = None) -> None:
        self._service = service
        self._plan = plan or BreakerPlan()
        self._metrics = metrics
        self._loop = asyncio.get_running_loop()
        self._failures = 0
        self._openings = 0
        self._open_until = 0.0
        self._problem = ""
        self._trying = False
        metrics.state.labels(service).set_function(lambda: int(self.state))

    @property
    def state(self) -> State:
        """CLOSED while the service works; HALF_OPEN when a call may try again, or does."""
        if not self._openings:
            return State.CLOSED
        return State.OPEN if self._loop.time() < self._open_until else State.HALF_OPEN

    def check(self) -> None:
        """Raise Unavailable while the service is left alone, with its last failure."""
        if self.state is State.OPEN or self._trying:
            self._metrics.refusals.labels(self._service).inc()
            wait = max(self._open_until - self._loop.time(), self._plan.open_times.initial_delay_seconds)
            raise Unavailable(
                f"{self._problem} ({self._failures} failures in a row; not called for now)",
                service=self._service,
                retry_after_seconds=wait,
            )

    @asynccontextmanager
    async def call(self) -> AsyncIterator[None]:
        """Watch a call of the service in the block. Raises Unavailable while the service is left alone."""
        self.check()
        is_trial = self.state is State.HALF_OPEN
        self._trying = self._trying or is_trial
        began = self._loop.time()
        try:
            async with asyncio.timeout(self._plan.trial_seconds) if is_trial else nullcontext():
                yield
        except Unavailable as error:
            self._failed(is_trial, error.message)
            raise
        except TimeoutError as error:
            self._failed(is_trial, self._silence(self._plan.trial_seconds))
            raise Unavailable(self._silence(self._plan.trial_seconds), service=self._service) from error
        except (DeadlineExceeded, asyncio.CancelledError):
            waited = self._loop.time() - began
            if waited >= self._plan.patience_seconds:
                self._failed(is_trial, self._silence(waited))
            raise
        except Exception:
            # The service answers, though not as wished.
            self._succeeded()
            raise
        else:
            self._succeeded()
        finally:
            if is_trial:
                self._trying = False

    def _succeeded(self) -> None:
        self._failures = self._openings = 0

    def _silence(self, seconds: float) -> str:
        return f"{self._service} did not answer within {seconds:.1f} s; see its log, and retry later"

    def _failed(self, is_trial: bool, problem: str) -> None:
        self._failures += 1
        self._problem = problem
        # Calls that began before the breaker opened fail afterwards.
        if is_trial or (self._failures >= self._plan.failures and not self._openings):
            self._open_until = self._loop.time() + self._plan.open_times.delay(self._openings)
            self._openings += 1
            self._metrics.openings.labels(self._service).inc()
