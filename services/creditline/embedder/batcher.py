"""Dynamic batches: items of many callers go through one forward together, and late ones not at all."""

from __future__ import annotations

import asyncio
import collections
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Generic, Self, TypeVar

from creditline.errors import DeadlineExceeded, ResourceExhausted, Unavailable

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class BatchLimits:
    """max_batch items go forward at once; the first waits for others at most `max_wait_seconds`.

    `queue` items may wait; more are refused.
    """

    max_batch: int
    max_wait_seconds: float
    queue: int


@dataclass(frozen=True, eq=False)
class _Waiting(Generic[Item, Result]):
    """One item; `arrived` and `deadline` are the event loop's times, seconds."""

    item: Item
    result: asyncio.Future[Result]
    arrived: float
    deadline: float


class Batcher(Generic[Item, Result]):
    """Calls `forward` with lists of items in one thread of its own: `async with Batcher(...) as batcher`.

    `forward` returns one result per item. `observe` is told each batch's size and how long its first item
    waited, in seconds. At the end of the block all that waits is still answered.
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
        self._waiting: collections.deque[_Waiting[Item, Result]] = collections.deque()
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
        """Items that wait."""
        return len(self._waiting)

    async def submit(self, items: Sequence[Item], *, seconds: float | None = None) -> list[Result]:
        """Results of all items, which may go forward in different batches.

        `seconds` is what the caller has left. Raises DeadlineExceeded when that is over before the last
        item went forward, ResourceExhausted when the queue is full (then none was taken), Unavailable
        after the end.
        """
        now = self._loop.time()
        deadline = float("inf") if seconds is None else now + seconds
        waiting = [_Waiting(item, self._loop.create_future(), now, deadline) for item in items]
        async with self._changed:
            self._refuse(len(waiting))
            self._waiting.extend(waiting)
            self._changed.notify_all()
        try:
            return list(await asyncio.gather(*(each.result for each in waiting)))
        finally:
            for each in waiting:
                if not each.result.cancel() and not each.result.cancelled():
                    each.result.exception()  # now it counts as seen

    def _refuse(self, more: int) -> None:
        if self._stopping:
            raise Unavailable("the embedder is stopping; ask another one", service="embedder")
        if len(self._waiting) + more > self._limits.queue:
            raise ResourceExhausted(
                f"{len(self._waiting)} pictures wait, {more} more would pass the limit"
                f" of {self._limits.queue}; send fewer at once, or again later"
            )

    async def _run(self) -> None:
        while batch := await self._next_batch():
            self._observe(len(batch), self._loop.time() - batch[0].arrived)
            try:
                results = await self._loop.run_in_executor(
                    self._thread, self._forward, [each.item for each in batch]
                )
            except (
                Exception
            ) as error:  # whatever it was, it is these callers' answer, and the next batch goes on
                for each in batch:
                    if not each.result.done():
                        each.result.set_exception(error)
                continue
            for each, result in zip(batch, results, strict=True):
                if not each.result.done():
                    each.result.set_result(result)

    async def _next_batch(self) -> list[_Waiting[Item, Result]]:
        """At least one item whose caller still waits; empty when stopping and nothing is left."""
        while True:
            async with self._changed:
                await self._changed.wait_for(lambda: self._waiting or self._stopping)
                if not self._waiting:
                    return []
                await self._fill()
                batch = self._taken()
            if batch:
                return batch

    async def _fill(self) -> None:
        """Wait until a batch is full, or its first item has waited long enough."""
        until = self._waiting[0].arrived + self._limits.max_wait_seconds
        while len(self._waiting) < self._limits.max_batch and not self._stopping:
            left = until - self._loop.time()
            if left <= 0:
                return
            try:
                await asyncio.wait_for(self._changed.wait(), left)
            except TimeoutError:
                return

    def _taken(self) -> list[_Waiting[Item, Result]]:
        """Up to a batch of items from the queue's head, without those that nobody waits for any more."""
        batch: list[_Waiting[Item, Result]] = []
        now = self._loop.time()
        while self._waiting and len(batch) < self._limits.max_batch:
            each = self._waiting.popleft()
            if each.result.done():
                continue
            if each.deadline <= now:
                each.result.set_exception(
                    DeadlineExceeded(
                        f"the deadline passed after {now - each.arrived:.3f} s in the queue; allow more"
                    )
                )
                continue
            batch.append(each)
        return batch
