"""Dynamic batches: items of many callers share one forward pass; items past their deadline are dropped."""

from __future__ import annotations

import asyncio
import collections
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from creditline.errors import DeadlineExceeded, ResourceExhausted, Unavailable

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class BatchLimits:
    """Limits of batches and of the queue."""

    max_batch: int
    """Largest number of items in one forward pass."""
    max_wait_seconds: float
    """Longest time that a batch with items of several calls waits for more; one call's items never wait."""
    queue: int
    """Largest number of queued items; more are refused."""


@dataclass(frozen=True, eq=False)
class _Queued(Generic[Item, Result]):
    """One queued item of a call. Times are those of the event loop's clock, in seconds."""

    item: Item
    call: object
    result: asyncio.Future[Result]
    arrived: float
    deadline: float


class Batcher(Generic[Item, Result]):
    """Calls a function with batches of items, in a thread of its own.

    Use it as `async with Batcher(...) as batcher`. At the end of the block, all queued items are still
    answered.

    Args:
        forward: Computes one result per item of a batch.
        limits: Limits of batches and of the queue.
        observe: Called at the start of each batch with its size and the time that its first item waited, in
            seconds.
    """

    def __init__(
        self,
        forward: Callable[[list[Item]], list[Result]],
        limits: BatchLimits,
        observe: Callable[[int, float], None] = lambda size, waited: None,
    ) -> None:
        self._forward = forward
        self._limits = limits
        self._observe = observe
        self._queue: collections.deque[_Queued[Item, Result]] = collections.deque()
        self._changed = asyncio.Condition()
        self._stopping = False
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="forward")

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        async with self._changed:
            self._stopping = True
            self._changed.notify_all()
        await self._task
        self._thread.shutdown()

    def __len__(self) -> int:
        """Number of queued items."""
        return len(self._queue)

    def oldest_seconds(self) -> float:
        """Time for which the oldest queued item has waited; 0 where none is queued. From any thread."""
        try:
            return max(self._loop.time() - self._queue[0].arrived, 0.0)
        except IndexError:
            return 0.0

    async def submit(self, items: Sequence[Item], *, seconds: float | None = None) -> list[Result]:
        """Queue items and wait for their results; they may be computed in different batches.

        Args:
            items: The items.
            seconds: Time that the caller has left; None for no deadline.

        Returns:
            One result per item, in order.

        Raises:
            DeadlineExceeded: The time was over before the last item's batch started.
            ResourceExhausted: The queue has no room for all items; none was queued.
            Unavailable: The batcher is stopping.
        """
        now = self._loop.time()
        deadline = float("inf") if seconds is None else now + seconds
        call = object()
        queued = [_Queued(item, call, self._loop.create_future(), now, deadline) for item in items]
        async with self._changed:
            self.check_room(len(queued))
            self._queue.extend(queued)
            self._changed.notify_all()
        try:
            return list(await asyncio.gather(*(each.result for each in queued)))
        finally:
            # An error of a result refers to this frame: without the results in it, they and their items go
            # at once.
            while queued:
                _give_up(queued.pop().result)

    def check_room(self, more: int) -> None:
        """Check that `more` items would be queued now. Raises as `submit`."""
        if self._stopping:
            raise Unavailable("the embedder is stopping; call another one", service="embedder")
        if len(self._queue) + more > self._limits.queue:
            raise ResourceExhausted(
                f"{len(self._queue)} pictures are queued, {more} more would exceed the limit"
                f" of {self._limits.queue}; send fewer at once, or retry later"
            )

    async def _run(self) -> None:
        while batch := await self._next_batch():
            self._observe(len(batch), self._loop.time() - batch[0].arrived)
            try:
                results = await self._loop.run_in_executor(
                    self._thread, self._forward, [each.item for each in batch]
                )
            except Exception as error:  # raised to this batch's callers; the next batch is not affected
                for each in batch:
                    if not each.result.done():
                        each.result.set_exception(error)
                continue
            for each, result in zip(batch, results, strict=True):
                if not each.result.done():
                    each.result.set_result(result)

    async def _next_batch(self) -> list[_Queued[Item, Result]]:
        """At least one item whose caller still waits; empty when stopping and the queue is empty."""
        while True:
            async with self._changed:
                await self._changed.wait_for(lambda: self._queue or self._stopping)
                if not self._queue:
                    return []
                await self._wait_for_full_batch()
                batch = self._pop_batch()
            if batch:
                return batch

    async def _wait_for_full_batch(self) -> None:
        """Wait until a batch is full, or its first item has waited `max_wait_seconds`.

        Nobody waits where only one call's items are queued: the others of a busy time arrive during the
        forward pass.
        """
        if self._queue[0].call is self._queue[-1].call:
            return
        until = self._queue[0].arrived + self._limits.max_wait_seconds
        while len(self._queue) < self._limits.max_batch and not self._stopping:
            left = until - self._loop.time()
            if left <= 0:
                return
            try:
                await asyncio.wait_for(self._changed.wait(), left)
            except TimeoutError:
                return

    def _pop_batch(self) -> list[_Queued[Item, Result]]:
        """The next items of the queue, at most a batch; cancelled and overdue ones are dropped."""
        batch: list[_Queued[Item, Result]] = []
        now = self._loop.time()
        while self._queue and len(batch) < self._limits.max_batch:
            each = self._queue.popleft()
            if each.result.done():
                continue
            if each.deadline <= now:
                each.result.set_exception(
                    DeadlineExceeded(
                        f"the deadline passed after {now - each.arrived:.3f} s in the queue; allow more time"
                    )
                )
                continue
            batch.append(each)
        return batch


def _give_up(result: asyncio.Future[Any]) -> None:
    """Cancel a result that nobody waits for any more, and let an error of it pass unreported."""
    if not result.cancel() and not result.cancelled():
        result.exception()
