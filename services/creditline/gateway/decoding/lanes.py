"""A lane of the decoder pool: a fair queue of pictures, and the decoders that take from it."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass

from creditline.gateway.decoding.fair_queue import FairQueue, QueueFull
from creditline.gateway.decoding.jobs import Job
from creditline.gateway.decoding.limits import DecoderLimits
from creditline.gateway.decoding.metrics import DecoderMetrics
from creditline.gateway.decoding.refusals import queue_full

# One turn of a caller: an ordinary generated picture of 1,024 pixels a side.
_QUANTUM_PIXELS = 1 << 20


@dataclass(frozen=True)
class LanePlan:
    """Size of a lane."""

    name: str
    """Name in metrics and messages."""
    decoders: int
    """Number of pictures that are decoded at the same time."""
    limits: DecoderLimits
    """Limits of each picture."""
    most_queued: int
    """Largest number of pictures that wait."""
    most_queued_bytes: int
    """Largest total size of the files that wait."""


class Lane:
    """Pictures that wait for the decoders of one lane.

    Args:
        plan: Size of the lane.
        metrics: Counts refusals.
    """

    def __init__(self, plan: LanePlan, metrics: DecoderMetrics) -> None:
        self.plan = plan
        self._metrics = metrics
        self._loop = asyncio.get_running_loop()
        self._idle: deque[asyncio.Future[None]] = deque()
        self._queue: FairQueue[Job] = FairQueue(
            quantum=_QUANTUM_PIXELS, most_items=plan.most_queued, most_bytes=plan.most_queued_bytes
        )
        metrics.queued.labels(plan.name).set_function(lambda: len(self._queue))
        metrics.oldest_seconds.labels(plan.name).set_function(self.oldest_seconds)

    def put(self, job: Job) -> None:
        """Queue a picture; the newest of the caller with the longest queue is refused if there is no room."""
        try:
            evicted = self._queue.put(job, caller=job.caller, cost=job.cost, size_bytes=len(job.image))
        except QueueFull:
            evicted = [job]
        for each in evicted:
            self._metrics.refusals.labels("queue").inc()
            each.refuse(queue_full(len(self._queue)))
        if job not in evicted:
            job.result.add_done_callback(lambda _: self._queue.discard(job, caller=job.caller))
            self._wake_one()

    async def next(self, decoder_ended: asyncio.Future[int]) -> Job | None:
        """The next picture whose caller still waits; None if the decoder ends while there is none."""
        while not decoder_ended.done():
            while job := self._queue.pop():
                if job.waited_for:
                    return job
            await self._sleep(decoder_ended)
        return None

    def oldest_seconds(self) -> float:
        """Time for which the oldest picture has waited; 0 when none waits."""
        now = self._loop.time()
        return max((now - job.queued_at for job in self._queue.oldest()), default=0.0)

    async def _sleep(self, decoder_ended: asyncio.Future[int]) -> None:
        """Return when a picture was queued, or the decoder has ended."""
        woken: asyncio.Future[None] = self._loop.create_future()

        def wake(_: object) -> None:
            if not woken.done():
                woken.set_result(None)

        self._idle.append(woken)
        decoder_ended.add_done_callback(wake)
        try:
            await woken
        finally:
            decoder_ended.remove_done_callback(wake)
            if woken in self._idle:
                self._idle.remove(woken)

    def _wake_one(self) -> None:
        while self._idle:
            woken = self._idle.popleft()
            if not woken.done():
                woken.set_result(None)
                return
