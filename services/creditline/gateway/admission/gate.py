"""A gate: a bounded number of answers is computed at once, and others wait in fair lines while that helps.

A caller may use three times as many turns as are free (dynamic thresholds: Choudhury and Hahne, "Dynamic
queue length thresholds for shared-memory packet switches", 1998): alone it gets three quarters of all turns,
so that another one's request finds a free turn at once.

The time at which a waiting request will be answered follows from its place, the measured rate, and the time
that an answer takes. It is computed when the request comes, and again ten times a second for all that wait:
who will not be answered in time learns it as soon as that is known.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from creditline.errors import CreditlineError, ResourceExhausted, Unavailable
from creditline.gateway.admission.lines import Lines, Waiting
from creditline.gateway.admission.metrics import AdmissionMetrics
from creditline.gateway.admission.rate import ServiceRate, ServiceTime

_TURNS_PER_FREE = 3
_REVIEW_SECONDS = 0.1
# Part of the time that is left which is kept for the way to the caller and for errors of the estimate.
_MARGIN = 0.08
# Mean deviations of the time of an answer that are added to it: for whom it is decided whether to wait, and
# for whom whether to begin.
_HOPEFUL, _CAUTIOUS = 1.0, 2.0
_IN_FLIGHT_SECONDS = 1.0
# Enough for a full batch of the embedder, whatever the rate.
_LEAST_TURNS = 24
# Part of all turns from which on a gate is busy.
_BUSY_PART = 4
_LEAST_RETRY_SECONDS = 1.0
_MOST_RETRY_SECONDS = 60.0


@dataclass(frozen=True)
class GatePlan:
    """Size of a gate."""

    name: str
    """Name in metrics, one of `metrics.GATES`."""
    turns: int
    """Number of answers that are computed at once."""
    most_waiting: int
    """Largest number of requests that wait."""
    most_waiting_bytes: int
    """Largest memory of the requests that wait."""


class Gate:
    """Gives turns to requests; to be created on a running event loop.

    Args:
        plan: Size of the gate.
        metrics: Shows state and refusals.
    """

    def __init__(self, plan: GatePlan, metrics: AdmissionMetrics) -> None:
        self._plan = plan
        self._metrics = metrics
        self._loop = asyncio.get_running_loop()
        self._lines = Lines()
        self._turns: dict[str, int] = {}
        self._in_flight = 0
        self._rate = ServiceRate()
        self._time = ServiceTime()
        self._review_timer: asyncio.TimerHandle | None = None
        self._closed = False
        metrics.in_flight.labels(plan.name).set_function(lambda: self._in_flight)
        metrics.waiting.labels(plan.name).set_function(lambda: len(self._lines))
        metrics.expected_wait.labels(plan.name).set_function(lambda: self._wait_of(len(self._lines)))
        metrics.rate.labels(plan.name).set_function(self._shown_rate)

    def check(self, caller: str, expires: float) -> None:
        """Refuse what cannot be answered in time, before anything is done for it.

        Args:
            caller: Whom the request counts for.
            expires: Time at which its caller gives up, on the clock of the event loop.

        Raises:
            ResourceExhausted: The expected time of the answer is past that.
            Unavailable: The gateway stops.
        """
        if self._closed:
            raise _stopping()
        late = self._lateness(caller, expires)
        if late > 0.0:
            raise self._refusal("deadline", late)

    @asynccontextmanager
    async def turn(self, caller: str, expires: float, size_bytes: int) -> AsyncIterator[None]:
        """Wait for a turn, and hold it for the length of the block.

        Args:
            caller: Whom the request counts for.
            expires: Time at which its caller gives up, on the clock of the event loop.
            size_bytes: Memory that the request holds while it waits.

        Raises:
            ResourceExhausted: The answer would come too late, or too much waits.
            Unavailable: The gateway stops.
        """
        arrived = self._loop.time()
        self.check(caller, expires)
        if self._can_start_at_once(caller):
            self._start(caller)
        else:
            await self._wait(Waiting(caller, expires, size_bytes))
        started, in_flight, counts = self._loop.time(), self._in_flight, True
        self._metrics.wait_seconds.labels(self._plan.name).observe(started - arrived)
        try:
            yield
        except Unavailable:
            # A service that is down ends answers faster than any that works.
            counts = False
            raise
        finally:
            self._leave(caller)
            if counts:
                self._count(started, in_flight)
            self._start_waiting()

    def close(self) -> None:
        """Refuse all that wait, and all that come; answers in progress go on."""
        self._closed = True
        for waiting in list(self._lines.in_order()):
            self._refuse(waiting, _stopping())
        self._pause_if_empty()

    # Turns

    def _may_start(self, caller: str) -> bool:
        return self._turns.get(caller, 0) < _TURNS_PER_FREE * (self._turns_now() - self._in_flight)

    def _turns_now(self) -> int:
        """Number of turns: no more than are used within a second at the measured rate (Little's law).

        What is in flight cannot be refused any more; where answers are slow, requests rather wait.
        """
        used = min(self._rate.per_second(self._loop.time()) * _IN_FLIGHT_SECONDS, self._plan.turns)
        return max(round(used), min(_LEAST_TURNS, self._plan.turns))

    def _can_start_at_once(self, caller: str) -> bool:
        # Whoever waits may not start now, whatever this caller does.
        return self._may_start(caller) and caller not in self._lines

    def _start(self, caller: str) -> None:
        self._turns[caller] = self._turns.get(caller, 0) + 1
        self._in_flight += 1

    def _leave(self, caller: str) -> None:
        self._in_flight -= 1
        self._turns[caller] -= 1
        if not self._turns[caller]:
            del self._turns[caller]

    def _count(self, started: float, in_flight: int) -> None:
        """Learn from the end of an answer; what few answers at once take says little about many."""
        now = self._loop.time()
        self._rate.ended(now, others_wait=len(self._lines) > 0)
        if in_flight >= self._plan.turns // _BUSY_PART:
            self._time.took(now - started, in_flight)

    def _start_waiting(self) -> None:
        """Give free turns to requests that wait, and refuse those whose answer would come too late."""
        while waiting := self._lines.pop(self._may_start):
            left = waiting.expires - self._loop.time()
            needed = self._time.expected(self._in_flight + 1, deviations=_CAUTIOUS)
            if left * (1 - _MARGIN) < needed:
                self._refuse(waiting, self._refusal("late", needed - left))
            elif not waiting.turn.done():
                self._start(waiting.caller)
                waiting.turn.set_result(None)
        self._pause_if_empty()

    # Waiting

    async def _wait(self, waiting: Waiting) -> None:
        self._make_room(waiting)
        self._lines.put(waiting)
        if self._review_timer is None:
            self._review_timer = self._loop.call_later(_REVIEW_SECONDS, self._review)
        try:
            await waiting.turn
        except asyncio.CancelledError:
            self._lines.discard(waiting)
            if waiting.turn.done() and not waiting.turn.cancelled() and waiting.turn.exception() is None:
                # The turn came at the moment at which the caller left.
                self._leave(waiting.caller)
                self._start_waiting()
            self._pause_if_empty()
            raise
        finally:
            # A refusal refers to this frame: without its own future in it, both go at once.
            del waiting

    def _make_room(self, waiting: Waiting) -> None:
        plan = self._plan
        while (
            len(self._lines) >= plan.most_waiting
            or self._lines.size_bytes + waiting.size_bytes > plan.most_waiting_bytes
        ):
            evicted = self._lines.newest_of_largest(waiting.caller, waiting.size_bytes)
            if evicted is None:
                raise self._refusal("memory", self._wait_of(0))
            self._refuse(evicted, self._refusal("memory", self._wait_of(0)))

    def _review(self) -> None:
        """Refuse requests that will not be answered in time, as it looks now."""
        self._review_timer = None
        now, ahead = self._loop.time(), 0
        rate = self._rate.hopeful(now)
        for waiting in list(self._lines.in_order()):
            left = waiting.expires - now
            late = (ahead + 1) / rate + self._time_after_wait() - left * (1 - _MARGIN)
            if late > 0.0:
                self._refuse(waiting, self._refusal("late", late))
            else:
                ahead += 1
        self._pause_if_empty()
        if self._lines:
            self._review_timer = self._loop.call_later(_REVIEW_SECONDS, self._review)

    def _refuse(self, waiting: Waiting, error: CreditlineError) -> None:
        self._lines.discard(waiting)
        if not waiting.turn.done():
            waiting.turn.set_exception(error)

    def _pause_if_empty(self) -> None:
        if not self._lines:
            self._rate.pause()

    # Estimates

    def _wait_of(self, ahead: int) -> float:
        """Expected time until a request starts that has `ahead` others before it, in seconds."""
        if not self._lines and self._in_flight < self._plan.turns:
            return 0.0
        return (ahead + 1) / self._rate.per_second(self._loop.time())

    def _lateness(self, caller: str, expires: float) -> float:
        """Time by which the answer to a new request would be late, in seconds; negative if it is in time."""
        left = (expires - self._loop.time()) * (1 - _MARGIN)
        if self._can_start_at_once(caller):
            # Answers that take long are no reason to refuse a caller as long as few are computed.
            is_busy = self._in_flight > self._plan.turns // _BUSY_PART
            return self._time.expected(self._in_flight + 1) - left if is_busy else -math.inf
        wait = (self._lines.ahead_of_new(caller) + 1) / self._rate.hopeful(self._loop.time())
        return wait + self._time_after_wait() - left

    def _time_after_wait(self) -> float:
        return self._time.expected(self._in_flight, deviations=_HOPEFUL)

    def _shown_rate(self) -> float:
        rate = self._rate.per_second(self._loop.time())
        return rate if math.isfinite(rate) else 0.0

    def _refusal(self, reason: str, late: float) -> ResourceExhausted:
        self._metrics.refusals.labels(self._plan.name, reason).inc()
        retry = min(max(late, _LEAST_RETRY_SECONDS), _MOST_RETRY_SECONDS)
        return ResourceExhausted(
            f"{self._in_flight} answers are being computed and {len(self._lines)} requests wait, so this one"
            f" would not be answered before its deadline; retry in {math.ceil(retry)} s, or allow more time",
            retry_after_seconds=retry,
        )


def _stopping() -> Unavailable:
    return Unavailable(
        "this gateway is stopping; call another one, or retry when it runs again",
        service="gateway",
        retry_after_seconds=_LEAST_RETRY_SECONDS,
    )
