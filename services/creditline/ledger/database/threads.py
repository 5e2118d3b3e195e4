"""Threads for calls of the ledger from an event loop: a stuck database blocks these and nothing else."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import ParamSpec, TypeVar

from creditline.errors import Unavailable

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

_READERS = 4
# Write transactions run one at a time anyway: more writers would only poll for the lock.
_WRITERS = 1
_RETRY_SECONDS = 2.0


@dataclass(frozen=True)
class CallLimits:
    """Limits of the calls of one kind, reads or writes."""

    waiting: int = 512
    """Largest number of calls that wait for a thread or run; more are refused."""
    seconds: float = 5.0
    """Longest time in which a call waits and runs."""


class LedgerThreads:
    """Threads of one ledger, apart from the event loop's own; they start with the first call.

    Args:
        limits: Limits of reads, and of writes.
        readers: Runs the reads; None: threads of their own.
    """

    def __init__(self, limits: CallLimits | None = None, *, readers: Executor | None = None) -> None:
        limits = limits or CallLimits()
        self._reads = _Lane("read", readers or _threads("read", _READERS), limits)
        self._writes = _Lane("written", _threads("written", _WRITERS), limits)

    async def read(
        self, call: Callable[Arguments, Result], *args: Arguments.args, **options: Arguments.kwargs
    ) -> Result:
        """Run a call that only reads.

        Raises:
            Unavailable: Too many calls wait, or this one took too long; it may still run then.
            CreditlineError: The call's own errors.
        """
        return await self._reads.run(lambda: call(*args, **options))

    async def write(
        self, call: Callable[Arguments, Result], *args: Arguments.args, **options: Arguments.kwargs
    ) -> Result:
        """Run a call that writes, after the writes before it. Errors are those of `read`.

        A write that took too long, or whose caller was cancelled, may still be committed.
        """
        return await self._writes.run(lambda: call(*args, **options))

    def submit_write(self, call: Callable[[], Result]) -> Future[Result]:
        """Queue a write, whose caller watches over its time itself. Raises Unavailable."""
        return self._writes.submit(call)

    @property
    def waiting(self) -> tuple[int, int]:
        """Number of reads and of writes that wait or run."""
        return self._reads.waiting, self._writes.waiting

    def close(self) -> None:
        """Drop the calls that wait, and wait for those that run; the ledger's own timeouts limit that."""
        self._reads.close()
        self._writes.close()


def _threads(what: str, number: int) -> Executor:
    return ThreadPoolExecutor(number, thread_name_prefix=f"ledger-{what}")


class _Lane:
    """A bounded executor for calls of one kind."""

    def __init__(self, what: str, threads: Executor, limits: CallLimits) -> None:
        self._what = what
        self._limits = limits
        self._threads = threads
        self._counting = threading.Lock()
        self.waiting = 0

    def submit(self, call: Callable[[], Result]) -> Future[Result]:
        if self.waiting >= self._limits.waiting:
            raise Unavailable(
                f"{self.waiting} calls wait for the ledger, which cannot be {self._what} fast enough; see the"
                " state of its database",
                service="ledger",
                retry_after_seconds=_RETRY_SECONDS,
            )
        self._count(1)
        # In the caller's context: what is done belongs to its trace.
        future = self._threads.submit(contextvars.copy_context().run, call)
        future.add_done_callback(lambda _: self._count(-1))
        return future

    async def run(self, call: Callable[[], Result]) -> Result:
        try:
            async with asyncio.timeout(self._limits.seconds):
                return await asyncio.wrap_future(self.submit(call))
        except TimeoutError as error:
            raise Unavailable(
                f"the ledger was not {self._what} within {self._limits.seconds:g} s; its database is"
                " overloaded, or another process holds a lock in it",
                service="ledger",
                retry_after_seconds=_RETRY_SECONDS,
            ) from error

    def close(self) -> None:
        self._threads.shutdown(cancel_futures=True)

    def _count(self, more: int) -> None:
        with self._counting:
            self.waiting += more
