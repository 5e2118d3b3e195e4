"""Admission of requests for an answer: the same for gRPC and HTTP."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from creditline.errors import ResourceExhausted
from creditline.gateway.admission.gate import Gate, GatePlan
from creditline.gateway.admission.impatience import Impatience
from creditline.gateway.admission.metrics import LARGE, ORDINARY, RERANKED, AdmissionMetrics
from creditline.gateway.deadline import Deadline

_MIB = 1 << 20
_LARGE_TURNS = 4
# As many as an embedder queues to be re-ranked, one at a time.
_RERANKED_TURNS = 8
_MOST_WAITING = 2_048


@dataclass(frozen=True)
class AdmissionPlan:
    """Size of admission."""

    answers_at_once: int = 64
    """Number of answers that are computed at once, of ordinary pictures."""
    queue_mib: int = 128
    """Memory of the requests that wait, of ordinary and of large pictures each, in MiB."""
    most_seconds: float = 10.0
    """Longest time that callers are given, whatever they ask for."""

    def gate(self, name: str) -> GatePlan:
        """Plan of one of the gates, by its name (`metrics.GATES`)."""
        most = {LARGE: _LARGE_TURNS, RERANKED: _RERANKED_TURNS}.get(name, self.answers_at_once)
        return GatePlan(name, min(most, self.answers_at_once), _MOST_WAITING, self.queue_mib * _MIB)


class Admission:
    """Gives each request its turn, or refuses it; to be created on a running event loop.

    Pictures that are slow to decode have a gate of their own, and so have re-ranked answers, which take
    longer: they are no reason to refuse others.

    Args:
        plan: Size of admission.
        metrics: Shows state and refusals.
    """

    def __init__(self, plan: AdmissionPlan, metrics: AdmissionMetrics) -> None:
        self._loop = asyncio.get_running_loop()
        self._most_seconds = plan.most_seconds
        self._ordinary, self._large, self._reranked = (
            Gate(plan.gate(name), metrics) for name in (ORDINARY, LARGE, RERANKED)
        )
        self._impatience = Impatience()

    def deadline(self, seconds: float | None, *, waited: float = 0.0) -> Deadline:
        """The deadline of a request.

        Args:
            seconds: Time that its caller gives it; None: as long as the gateway permits.
            waited: Time since it arrived, in seconds.
        """
        allowed = self._most_seconds if seconds is None else min(seconds, self._most_seconds)
        return Deadline.after(allowed, waited=waited)

    async def check(self, caller: str, seconds: float | None, *, waited: float = 0.0) -> None:
        """Refuse a request, before its body is read, if no answer to it can be in time.

        Args:
            caller: Whom the request counts for.
            seconds: Time that its caller gives it; None: as long as the gateway permits.
            waited: Time since it arrived, in seconds.

        Raises:
            ResourceExhausted: The expected time of the answer is past the deadline.
            Unavailable: The gateway stops.
        """
        expires = self._expires(self.deadline(seconds, waited=waited))
        async with self._delaying(caller, expires):
            self._ordinary.check(caller, expires)

    @asynccontextmanager
    async def turn(
        self, caller: str, deadline: Deadline, *, size_bytes: int, large: bool, reranked: bool = False
    ) -> AsyncIterator[None]:
        """Wait for a turn to compute an answer, and hold it for the length of the block.

        Args:
            caller: Whom the request counts for.
            deadline: Time limit of the request.
            size_bytes: Memory that the request holds while it waits.
            large: Whether its picture is slow to decode.
            reranked: Whether it asks for a re-ranked answer.

        Raises:
            ResourceExhausted: The answer would come too late, or too much waits.
            Unavailable: The gateway stops.
        """
        gate = self._reranked if reranked else self._large if large else self._ordinary
        expires = self._expires(deadline)
        async with AsyncExitStack() as turn:
            async with self._delaying(caller, expires):
                await turn.enter_async_context(gate.turn(caller, expires, size_bytes))
            yield

    @asynccontextmanager
    async def _delaying(self, caller: str, expires: float) -> AsyncIterator[None]:
        """Delay the refusal that the block raises if the caller was told to come later."""
        arrived = self._loop.time()
        try:
            yield
        except ResourceExhausted as refusal:
            await self._impatience.refused(
                caller,
                arrived=arrived,
                left=expires - self._loop.time(),
                retry_after=refusal.retry_after_seconds or 0.0,
            )
            raise

    def close(self) -> None:
        """Refuse all that wait, and all that come; answers in progress go on."""
        self._ordinary.close()
        self._large.close()
        self._reranked.close()

    def _expires(self, deadline: Deadline) -> float:
        return self._loop.time() + deadline.expires - time.monotonic()
