"""An event loop whose clock jumps to the next timer: waits cost no time, and no other process delays them."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

_LONGEST_SECONDS = 3_600.0


class _VirtualTimeLoop(asyncio.SelectorEventLoop):
    """A loop for timers and tasks only: nothing in it may wait for a socket or for a thread."""

    def __init__(self) -> None:
        self._now = 0.0
        super().__init__()

    def time(self) -> float:
        return self._now

    def _run_once(self) -> None:
        base: Any = super()
        if not self._ready and self._scheduled:  # type: ignore[attr-defined]
            self._now = max(self._now, self._scheduled[0].when())  # type: ignore[attr-defined]
        base._run_once()


def run(main: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine to its end in virtual time, at most an hour of it."""
    with asyncio.Runner(loop_factory=_VirtualTimeLoop) as runner:
        runner.run(asyncio.wait_for(main, _LONGEST_SECONDS))
