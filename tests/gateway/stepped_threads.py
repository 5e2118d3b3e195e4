"""Threads that run what they are given when a test says so, so that any order of events can be played."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any


class SteppedThreads(ThreadPoolExecutor):
    """An executor whose calls wait until the test runs them.

    A call counts as running from the start, so that cancelling the task that awaits it does not stop it, as
    with a thread that waits for a database.
    """

    def __init__(self) -> None:
        super().__init__(1)
        self.waiting: list[tuple[Future[Any], Callable[[], Any]]] = []
        self.done: list[tuple[Future[Any], Any, BaseException | None]] = []

    def submit(self, call: Callable[..., Any], /, *args: Any, **options: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_running_or_notify_cancel()
        self.waiting.append((future, partial(call, *args, **options)))
        return future

    def do_oldest(self) -> None:
        """Run the call that waits longest, on the thread of the test. `hand_over` gives out its result."""
        future, call = self.waiting.pop(0)
        try:
            self.done.append((future, call(), None))
        except BaseException as error:
            self.done.append((future, None, error))

    def hand_over(self) -> None:
        """Give the loop the result of the call that was done first."""
        future, result, error = self.done.pop(0)
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)

    def run_oldest(self) -> None:
        """Run the call that waits longest and hand its result over."""
        self.do_oldest()
        self.hand_over()
