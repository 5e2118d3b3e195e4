"""A queue that is fair to callers, whatever each of them queues: deficit round robin.

Shreedhar and Varghese, "Efficient fair queueing using deficit round robin", 1995. Callers take turns; each
turn adds a quantum to what a caller may spend, and items are served while their cost fits into that.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

Item = TypeVar("Item")


class QueueFull(Exception):
    """The queue has no room for an item of this caller."""


@dataclass(frozen=True, eq=False)
class _Entry(Generic[Item]):
    """One queued item."""

    item: Item
    cost: int
    size_bytes: int


@dataclass(eq=False)
class _Flow(Generic[Item]):
    """What one caller has queued."""

    entries: deque[_Entry[Item]] = field(default_factory=deque)
    """Items, oldest first."""
    deficit: int = 0
    """Cost that the caller may still spend in this turn."""


class FairQueue(Generic[Item]):
    """A bounded queue with one flow per caller.

    Args:
        quantum: Cost that a caller may spend in one turn.
        most_items: Largest number of items.
        most_bytes: Largest total size of items.
    """

    def __init__(self, *, quantum: int, most_items: int, most_bytes: int) -> None:
        self._quantum = quantum
        self._most_items = most_items
        self._most_bytes = most_bytes
        self._flows: OrderedDict[str, _Flow[Item]] = OrderedDict()
        self._items = 0
        self._bytes = 0

    def __len__(self) -> int:
        return self._items

    def put(self, item: Item, *, caller: str, cost: int, size_bytes: int) -> list[Item]:
        """Queue an item.

        Returns:
            The items that were pushed out to make room: the newest of the caller that has most queued.

        Raises:
            QueueFull: There is no room, and no other caller has more queued than this one.
        """
        evicted = []
        while self._is_full(size_bytes):
            longest = max(self._flows, key=self._length, default=caller)
            if self._length(longest) <= self._length(caller) + 1:
                raise QueueFull
            evicted.append(self._remove(longest, self._flows[longest].entries[-1]))
        self._flows.setdefault(caller, _Flow()).entries.append(_Entry(item, cost, size_bytes))
        self._items += 1
        self._bytes += size_bytes
        return evicted

    def pop(self) -> Item | None:
        """The next item in fair order; None when the queue is empty."""
        while self._flows:
            caller, flow = next(iter(self._flows.items()))
            entry = flow.entries[0]
            if entry.cost <= flow.deficit:
                flow.deficit -= entry.cost
                return self._remove(caller, entry)
            flow.deficit += self._quantum
            self._flows.move_to_end(caller)
        return None

    def discard(self, item: Item, *, caller: str) -> None:
        """Remove an item that its caller does not wait for any more, if it is queued."""
        flow = self._flows.get(caller)
        for entry in flow.entries if flow else ():
            if entry.item == item:
                self._remove(caller, entry)
                return

    def oldest(self) -> Iterator[Item]:
        """The oldest item of each caller."""
        return (flow.entries[0].item for flow in self._flows.values())

    def _is_full(self, more_bytes: int) -> bool:
        return self._items >= self._most_items or self._bytes + more_bytes > self._most_bytes

    def _length(self, caller: str) -> int:
        flow = self._flows.get(caller)
        return len(flow.entries) if flow else 0

    def _remove(self, caller: str, entry: _Entry[Item]) -> Item:
        flow = self._flows[caller]
        flow.entries.remove(entry)
        self._items -= 1
        self._bytes -= entry.size_bytes
        if not flow.entries:
            # A caller without items keeps no credit for later.
            del self._flows[caller]
        return entry.item
