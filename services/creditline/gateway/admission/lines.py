"""Waiting requests, one line per caller: callers take turns."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field


@dataclass(eq=False)
class Waiting:
    """One request that waits for its turn."""

    caller: str
    """Whom it counts for."""
    expires: float
    """Time at which its caller gives up, on the clock of the event loop."""
    size_bytes: int
    """Memory that it holds."""
    turn: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    """Done when its turn comes, or when it is refused."""


class Lines:
    """Lines of waiting requests; the first of each line are served in rotation."""

    def __init__(self) -> None:
        self._lines: OrderedDict[str, deque[Waiting]] = OrderedDict()
        self._bytes: dict[str, int] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __contains__(self, caller: str) -> bool:
        """Whether requests of a caller wait."""
        return caller in self._lines

    @property
    def size_bytes(self) -> int:
        """Memory that all waiting requests hold."""
        return sum(self._bytes.values())

    def put(self, waiting: Waiting) -> None:
        """Add a request at the end of its caller's line."""
        self._lines.setdefault(waiting.caller, deque()).append(waiting)
        self._bytes[waiting.caller] = self._bytes.get(waiting.caller, 0) + waiting.size_bytes
        self._count += 1

    def discard(self, waiting: Waiting) -> None:
        """Remove a request, if it waits."""
        line = self._lines.get(waiting.caller)
        if line is None or waiting not in line:
            return
        line.remove(waiting)
        self._count -= 1
        self._bytes[waiting.caller] -= waiting.size_bytes
        if not line:
            del self._lines[waiting.caller], self._bytes[waiting.caller]

    def pop(self, may_start: Callable[[str], bool]) -> Waiting | None:
        """The next request of a caller that may start one; its caller goes to the end of the rotation."""
        for caller, line in self._lines.items():
            if may_start(caller):
                self._lines.move_to_end(caller)
                waiting = line[0]
                self.discard(waiting)
                return waiting
        return None

    def newest_of_largest(self, caller: str, more_bytes: int) -> Waiting | None:
        """The newest request of the caller that holds most memory.

        Args:
            caller: Caller of a request that is to be added.
            more_bytes: Memory of that request.

        Returns:
            None if this caller itself would hold most.
        """
        largest = max(self._bytes, key=self._bytes.__getitem__, default=caller)
        if self._bytes.get(largest, 0) <= self._bytes.get(caller, 0) + more_bytes:
            return None
        return self._lines[largest][-1]

    def ahead_of_new(self, caller: str) -> int:
        """Number of requests that are served before a new one of a caller."""
        own = len(self._lines.get(caller, ()))
        return own + sum(min(len(line), own + 1) for name, line in self._lines.items() if name != caller)

    def in_order(self) -> Iterator[Waiting]:
        """All requests, in the order in which they are served if each caller may start whenever it can."""
        rounds = [iter(tuple(line)) for line in self._lines.values()]
        while rounds:
            left = []
            for line in rounds:
                waiting = next(line, None)
                if waiting is not None:
                    yield waiting
                    left.append(line)
            rounds = left
