"""The pool of decoders: two lanes, so that pictures that are slow to decode delay only their like.

The ordinary lane decodes pictures of at most `ORDINARY_PIXELS`, several at once. The lane for large pictures
decodes one at a time, giving way to everything else: that bounds pixels and memory in use across requests. A
picture of the ordinary lane that is not decoded after `_SLICE_SECONDS` leaves it: a few such pictures go on
beside the lane with low priority, and the others start anew in the lane for large pictures.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Self

from creditline.errors import InvalidInput
from creditline.gateway.decoding import refusals
from creditline.gateway.decoding.jobs import DecodedPicture, Job
from creditline.gateway.decoding.lanes import Lane, LanePlan
from creditline.gateway.decoding.limits import DecoderLimits
from creditline.gateway.decoding.metrics import LANES, DecoderMetrics
from creditline.gateway.decoding.processes import (
    Decoder,
    DecoderEnded,
    NurseryEnded,
    NurseryProcess,
    OutOfMemory,
)
from creditline.pictures.headers import declared_pixels
from creditline.pictures.queries import check_size
from creditline.retries import RetryPolicy

ORDINARY_PIXELS = 5_000_000
"""Largest declared size of a picture in the ordinary lane, in pixels."""
_ORDINARY_MEMORY_MIB = 128
_LARGE_DECODERS = 1
_LARGE_NICENESS = 10
_SLICE_SECONDS = 0.1
_MOST_OVERDUE = 2
# Even the smallest picture takes a decoder's attention.
_LEAST_COST = 1 << 16
# On a busy machine a decoder may wait for the processor much longer than it uses it.
_WALL_FACTOR = 10
_LEAST_WALL_SECONDS = 5.0
_ATTEMPTS = 2
_STUCK_SECONDS = 10.0
_START_SECONDS = 5.0
_RESTARTS = RetryPolicy(initial_delay_seconds=0.1, max_delay_seconds=2.0)
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PoolPlan:
    """Size and limits of a pool."""

    decoders: int = 2
    """Number of ordinary pictures that are decoded at the same time."""
    cpu_seconds: float = 5.0
    """Processor time for one picture."""
    memory_mib: int = 512
    """Memory for one picture, in MiB; an ordinary picture first gets at most 128 MiB."""
    pixels: int = 40_000_000
    """Largest number of pixels of a picture."""
    most_queued: int = 128
    """Largest number of pictures that wait, in each lane."""
    most_queued_mib: int = 64
    """Largest total size of the files that wait, in each lane, in MiB."""

    def lane(self, *, large: bool) -> LanePlan:
        """The plan of one of the two lanes."""
        return LanePlan(
            name=LANES[large],
            decoders=_LARGE_DECODERS if large else self.decoders,
            limits=DecoderLimits(
                self.cpu_seconds,
                self.memory_mib if large else min(self.memory_mib, _ORDINARY_MEMORY_MIB),
                self.pixels,
                niceness=_LARGE_NICENESS if large else 0,
            ),
            most_queued=self.most_queued,
            most_queued_bytes=self.most_queued_mib << 20,
        )


class DecoderPool:
    """Decodes pictures in processes of its own: `async with DecoderPool(plan, metrics) as pool`.

    At the end of the block all processes are killed, whatever they decode.

    Args:
        plan: Size and limits.
        metrics: Counts processes, pictures and refusals.
    """

    def __init__(self, plan: PoolPlan, metrics: DecoderMetrics) -> None:
        self._metrics = metrics
        self._plan = plan
        self._ordinary = Lane(plan.lane(large=False), metrics)
        self._large = Lane(plan.lane(large=True), metrics)
        self._nursery: NurseryProcess | None = None
        self._nursery_up = asyncio.Event()
        self._first_started = asyncio.Event()
        self._decoders: dict[Decoder, Lane] = {}
        self._overdue: set[asyncio.Task[bool]] = set()
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        """Start the processes; pictures wait until they have started."""
        self._tasks.append(asyncio.create_task(self._keep_nursery()))
        for lane in (self._ordinary, self._large):
            self._tasks += (asyncio.create_task(self._serve(lane)) for _ in range(lane.plan.decoders))
        # The nursery then starts while the caller does other things.
        await asyncio.sleep(0)
        return self

    async def started(self) -> None:
        """Wait until the first decoder runs, but not for long: readiness reports what is wrong."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_START_SECONDS):
                await self._first_started.wait()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        tasks = [*self._tasks, *self._overdue]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    @property
    def pids(self) -> tuple[int, ...]:
        """Numbers of the nursery's process and of the decoders'."""
        nursery = (self._nursery.pid,) if self._nursery is not None else ()
        return (*nursery, *(decoder.pid for decoder in self._decoders))

    @staticmethod
    def is_large(image: bytes) -> bool:
        """Whether a picture is decoded in the lane for large pictures: large, or of unknown size."""
        declared = declared_pixels(image)
        return declared is None or declared > ORDINARY_PIXELS

    async def decode(self, image: bytes, *, caller: str = "") -> DecodedPicture:
        """Decode the picture of a query.

        Args:
            image: Content of a picture file.
            caller: Whom the picture counts for: callers take turns.

        Raises:
            InvalidInput: The picture cannot be decoded, or passes a limit, which the message names.
            ResourceExhausted: Too many pictures wait.
            Unavailable: Decoders do not answer.
        """
        check_size(image)
        declared = declared_pixels(image)
        lane = self._large if self.is_large(image) else self._ordinary
        cost = min(max(declared or self._plan.pixels, _LEAST_COST), self._plan.pixels)
        job = Job(image, caller, cost, asyncio.get_running_loop().time())
        lane.put(job)
        try:
            return await job.result
        finally:
            # An error of the job refers to this frame: without the job in it, both go at once.
            del job

    def problem(self) -> str:
        """Why pictures cannot be decoded now; empty when they can."""
        if not self._nursery_up.is_set():
            return "the process that starts decoders does not run; it is restarted, see the gateway's log"
        if self._ordinary not in self._decoders.values():
            return "no decoder runs; one is started"
        waited = self._ordinary.oldest_seconds()
        if waited > _STUCK_SECONDS:
            return (
                f"pictures have waited {waited:.0f} s for a decoder; set CREDITLINE_DECODERS to a larger"
                " number, or start more gateways"
            )
        return ""

    async def _keep_nursery(self) -> None:
        """Keep a nursery running until the pool ends."""
        async for attempt in _RESTARTS.attempts_async():
            if attempt:
                self._metrics.nursery_restarts.inc()
            try:
                self._nursery = nursery = NurseryProcess()
            except OSError as error:
                _log.error("the process that starts decoders cannot be started: %s", error)
                continue
            self._nursery_up.set()
            try:
                await nursery.ended
                _log.error("the process that starts decoders ended; it is started anew")
            finally:
                self._nursery_up.clear()
                nursery.close()

    async def _serve(self, lane: Lane) -> None:
        """Decode the pictures of a lane, one after the other, with one decoder after the other."""
        while True:
            decoder: Decoder | None = await self._started(lane)
            try:
                while decoder and (job := await lane.next(decoder.ended)):
                    decoder = await self._decode(job, decoder, lane)
                    # Its picture would be kept until the next one comes.
                    del job
            finally:
                if decoder:
                    decoder.close()

    async def _started(self, lane: Lane) -> Decoder:
        while True:
            await self._nursery_up.wait()
            assert self._nursery is not None
            with contextlib.suppress(NurseryEnded):
                decoder = await self._nursery.start(lane.plan.limits)
                self._decoders[decoder] = lane
                self._first_started.set()
                self._metrics.processes.labels(lane.plan.name).inc()
                decoder.ended.add_done_callback(partial(self._forget, decoder))
                return decoder
            await asyncio.sleep(_RESTARTS.initial_delay_seconds)

    def _forget(self, decoder: Decoder, _: object) -> None:
        lane = self._decoders.pop(decoder)
        self._metrics.processes.labels(lane.plan.name).dec()
        self._metrics.ends.labels(decoder.end_reason).inc()

    async def _decode(self, job: Job, decoder: Decoder, lane: Lane) -> Decoder | None:
        """Decode one picture, or hand it over where it takes long.

        Returns:
            The decoder, if the lane can go on with it.
        """
        decoding = asyncio.create_task(self._finish(job, decoder, lane))
        try:
            await asyncio.wait({decoding}, timeout=_SLICE_SECONDS if lane is self._ordinary else None)
            if not decoding.done() and job.waited_for and len(self._overdue) < _MOST_OVERDUE:
                self._let_go_on(decoding, decoder)
                return None
            if not decoding.done() and job.waited_for:
                self._start_anew(job, decoder)
            is_usable = await decoding
        except asyncio.CancelledError:
            decoding.cancel()
            await asyncio.wait({decoding})
            raise
        if is_usable:
            return decoder
        decoder.close()
        return None

    def _let_go_on(self, decoding: asyncio.Task[bool], decoder: Decoder) -> None:
        """Let a picture that takes long be decoded beside the lane, with low priority."""

        def retire(_: object) -> None:
            self._overdue.discard(decoding)
            # Its priority cannot be raised again.
            decoder.close()

        decoder.end_reason = "slow"
        decoder.slow_down(_LARGE_NICENESS)
        self._overdue.add(decoding)
        decoding.add_done_callback(retire)

    def _start_anew(self, job: Job, decoder: Decoder) -> None:
        """Stop decoding a picture that takes long; it is decoded in the lane for large pictures."""
        job.moved = True
        decoder.kill("slow")
        self._large.put(job)

    async def _finish(self, job: Job, decoder: Decoder, lane: Lane) -> bool:
        """Decode one picture and give the result to its caller; True if the decoder can take another one."""
        busy = self._metrics.busy.labels(lane.plan.name)
        busy.inc()
        job.result.add_done_callback(decoder.kill_if_cancelled)
        try:
            async with asyncio.timeout(max(_WALL_FACTOR * self._plan.cpu_seconds, _LEAST_WALL_SECONDS)):
                with self._metrics.seconds.labels(lane.plan.name).time():
                    pixels = await decoder.pixels(job.image)
                job.decoded(pixels)
                job.keep(await decoder.recorded_file())
            return True
        except InvalidInput as error:
            self._refuse(job, "invalid", error)
            return True
        except OutOfMemory:
            decoder.end_reason = "memory"
            self._after_out_of_memory(job, lane)
        except DecoderEnded as end:
            self._after_end(job, lane, end)
        except TimeoutError:
            decoder.kill("stuck")
            self._refuse(job, "stuck", refusals.stuck())
        finally:
            busy.dec()
            job.result.remove_done_callback(decoder.kill_if_cancelled)
            if not job.waited_for:
                job.keep(None)
        return False

    def _after_out_of_memory(self, job: Job, lane: Lane) -> None:
        if lane.plan.limits.memory_mib < self._large.plan.limits.memory_mib:
            self._large.put(job)
        else:
            self._refuse(job, "memory", refusals.needs_memory(self._plan.memory_mib))

    def _after_end(self, job: Job, lane: Lane, end: DecoderEnded) -> None:
        if job.moved and lane is self._ordinary:
            return
        if end.by_time_limit:
            self._refuse(job, "time", refusals.takes_long(self._plan.cpu_seconds))
            return
        job.attempts += 1
        if job.attempts < _ATTEMPTS and job.waited_for:
            lane.put(job)
        else:
            self._refuse(job, "ended", refusals.ends_decoders(end.signal, job.attempts))

    def _refuse(self, job: Job, reason: str, error: Exception) -> None:
        if job.waited_for:
            self._metrics.refusals.labels(reason).inc()
            job.refuse(error)
