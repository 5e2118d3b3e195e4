"""The dynamic batcher, with a forward that only doubles."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import threading
import time
import weakref
from collections.abc import Awaitable, Callable

import pytest

from creditline.embedder.batcher import Batcher, BatchLimits
from creditline.errors import DeadlineExceeded, ResourceExhausted, Unavailable

LONG_SECONDS = 5.0
LIMITS = BatchLimits(max_batch=4, max_wait_seconds=0.05, queue=16)


class Doubling:
    """Doubles numbers, remembers its batches, and can be held up."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.threads: set[int] = set()
        self.go = threading.Event()
        self.go.set()
        self.begun = threading.Event()

    def __call__(self, items: list[int]) -> list[int]:
        self.batches.append(items)
        self.threads.add(threading.get_ident())
        self.begun.set()
        assert self.go.wait(LONG_SECONDS * 4)
        if -1 in items:
            raise ValueError("a forward that fails")
        return [2 * item for item in items]


def with_batcher(
    forward: Doubling, limits: BatchLimits, use: Callable[[Batcher[int, int]], Awaitable[None]]
) -> None:
    async def run() -> None:
        async with Batcher(forward, limits) as batcher:
            await use(batcher)

    asyncio.run(run())


async def begun(forward: Doubling) -> None:
    assert await asyncio.to_thread(forward.begun.wait, LONG_SECONDS)


async def until(holds: Callable[[], bool]) -> None:
    """Let the other tasks go on until `holds`; fails with TimeoutError when it never does."""
    async with asyncio.timeout(LONG_SECONDS):
        while not holds():
            await asyncio.sleep(0)


async def stopping(batcher: Batcher[int, int]) -> None:
    """Until the batcher takes no more items: a request without any is then refused too."""
    async with asyncio.timeout(LONG_SECONDS):
        with contextlib.suppress(Unavailable):
            while True:
                await batcher.submit([])
                await asyncio.sleep(0)


def test_callers_that_come_together_share_a_forward_and_get_their_own_results() -> None:
    forward = Doubling()

    async def use(batcher: Batcher[int, int]) -> None:
        assert await asyncio.gather(batcher.submit([1, 2]), batcher.submit([3])) == [[2, 4], [6]]

    with_batcher(forward, BatchLimits(3, LONG_SECONDS, 16), use)
    assert forward.batches == [[1, 2, 3]]


@pytest.mark.parametrize("items", [[1], [1, 2]])
def test_a_lone_caller_does_not_wait_for_others(items: list[int]) -> None:
    forward = Doubling()

    async def use(batcher: Batcher[int, int]) -> None:
        assert await batcher.submit(items) == [2 * item for item in items]

    started = time.monotonic()
    with_batcher(forward, BatchLimits(4, LONG_SECONDS, 16), use)
    assert time.monotonic() - started < LONG_SECONDS / 2
    assert forward.batches == [items]


def test_two_callers_do_not_wait_longer_than_the_limit() -> None:
    forward = Doubling()

    async def use(batcher: Batcher[int, int]) -> None:
        assert await asyncio.gather(batcher.submit([1]), batcher.submit([2])) == [[2], [4]]

    started = time.monotonic()
    with_batcher(forward, LIMITS, use)
    assert LIMITS.max_wait_seconds <= time.monotonic() - started < LONG_SECONDS
    assert forward.batches == [[1, 2]]


def test_more_items_than_a_batch_holds_go_forward_in_several() -> None:
    forward = Doubling()

    async def use(batcher: Batcher[int, int]) -> None:
        assert await batcher.submit(list(range(10))) == [2 * item for item in range(10)]

    with_batcher(forward, LIMITS, use)
    assert [len(batch) for batch in forward.batches] == [4, 4, 2]
    assert len(forward.threads) == 1


def test_an_item_whose_deadline_passed_in_the_queue_never_goes_forward() -> None:
    forward = Doubling()
    forward.go.clear()

    async def use(batcher: Batcher[int, int]) -> None:
        first = asyncio.create_task(batcher.submit([1]))
        await begun(forward)
        late = asyncio.create_task(batcher.submit([2], seconds=0.01))
        patient = asyncio.create_task(batcher.submit([3], seconds=60.0))
        await until(lambda: len(batcher) == 2)
        loop = asyncio.get_running_loop()
        passed = loop.time() + 0.01
        await until(lambda: loop.time() > passed)
        forward.go.set()
        assert await first == [2]
        with pytest.raises(DeadlineExceeded):
            await late
        assert await patient == [6]

    with_batcher(forward, LIMITS, use)
    assert forward.batches == [[1], [3]]


def test_an_item_whose_caller_went_away_never_goes_forward() -> None:
    forward = Doubling()
    forward.go.clear()

    async def use(batcher: Batcher[int, int]) -> None:
        first = asyncio.create_task(batcher.submit([1]))
        await begun(forward)
        gone = asyncio.create_task(batcher.submit([2]))
        await until(lambda: len(batcher) == 1)
        gone.cancel()
        await until(gone.done)
        forward.go.set()
        assert await first == [2]

    with_batcher(forward, LIMITS, use)
    assert forward.batches == [[1]]


def test_a_full_queue_refuses_all_of_a_request_and_keeps_what_it_has() -> None:
    forward = Doubling()
    forward.go.clear()

    async def use(batcher: Batcher[int, int]) -> None:
        first = asyncio.create_task(batcher.submit([1]))
        await begun(forward)
        waiting = asyncio.create_task(batcher.submit([2, 3]))
        await until(lambda: len(batcher) == 2)
        with pytest.raises(ResourceExhausted, match="limit of 3"):
            await batcher.submit([4, 5])
        assert len(batcher) == 2
        forward.go.set()
        assert await first == [2]
        assert await waiting == [4, 6]

    with_batcher(forward, BatchLimits(max_batch=4, max_wait_seconds=0.0, queue=3), use)
    assert forward.batches == [[1], [2, 3]]


def test_a_forward_that_fails_fails_its_own_callers_only() -> None:
    forward = Doubling()

    async def use(batcher: Batcher[int, int]) -> None:
        with pytest.raises(ValueError, match="a forward that fails"):
            await batcher.submit([-1])
        assert await batcher.submit([5]) == [10]

    with_batcher(forward, LIMITS, use)


def test_what_waits_at_the_end_is_answered_and_what_comes_after_is_refused() -> None:
    forward = Doubling()
    forward.go.clear()

    async def run() -> None:
        async with Batcher(forward, LIMITS) as batcher:
            first = asyncio.create_task(batcher.submit([1]))
            await begun(forward)
            waiting = asyncio.create_task(batcher.submit([2]))
            await until(lambda: len(batcher) == 1)
            stopped = asyncio.create_task(stopping(batcher))
            stopped.add_done_callback(lambda _: forward.go.set())
        await stopped
        assert await first == [2]
        assert await waiting == [4]
        with pytest.raises(Unavailable):
            await batcher.submit([3])

    asyncio.run(run())


class _Picture:
    """An item that is large."""


def test_items_whose_deadline_passed_are_freed_without_a_garbage_collection() -> None:
    go, begun_once = threading.Event(), threading.Event()

    def forward(pictures: list[_Picture]) -> list[int]:
        begun_once.set()
        assert go.wait(LONG_SECONDS)
        return [1] * len(pictures)

    async def outcome(batcher: Batcher[_Picture, int], picture: _Picture) -> str:
        try:
            await batcher.submit([picture], seconds=0.01)
        except DeadlineExceeded as error:
            return type(error).__name__
        return "embedded"

    async def run() -> None:
        async with Batcher(forward, LIMITS) as batcher:
            first = asyncio.create_task(batcher.submit([_Picture()]))
            assert await asyncio.to_thread(begun_once.wait, LONG_SECONDS)
            picture = _Picture()
            late, gone = asyncio.create_task(outcome(batcher, picture)), weakref.ref(picture)
            del picture
            await until(lambda: len(batcher) == 1)
            await asyncio.sleep(0.02)
            gc.disable()
            try:
                go.set()
                assert await late == "DeadlineExceeded"
                await first
                await until(lambda: gone() is None)
            finally:
                gc.enable()

    asyncio.run(run())
