"""A bounded number of calls under way at once: the next is sent while earlier ones are worked on."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from typing import Protocol, TypeVar

Batch = TypeVar("Batch")


class PendingCall(Protocol):
    """A call that was sent and is not acknowledged yet."""

    def acknowledged(self) -> object:
        """Wait for the acknowledgement. Raises why it does not come."""
        ...

    def cancel(self) -> None:
        """Stop waiting for it; whether it takes effect is open."""
        ...


def acknowledged_in_order(
    batches: Iterable[Batch], send: Callable[[Batch], PendingCall], *, limit: int
) -> Generator[Batch, None, None]:
    """Send every batch and yield it once it is acknowledged, in the order of sending.

    The first failure in making, sending or acknowledging a batch ends the iteration: no further batch is
    sent, and the calls under way are cancelled. The same happens when the caller closes the iterator.

    Args:
        batches: made one at a time, while earlier ones are under way.
        send: starts the call for one batch.
        limit: largest number of calls under way, at least 1.

    Raises:
        Exception: the first failure.
    """
    under_way: deque[tuple[Batch, PendingCall]] = deque()
    try:
        for batch in batches:
            while len(under_way) >= limit:
                yield _oldest_acknowledged(under_way)
            under_way.append((batch, send(batch)))
        while under_way:
            yield _oldest_acknowledged(under_way)
    finally:
        for _, call in under_way:
            call.cancel()


def _oldest_acknowledged(under_way: deque[tuple[Batch, PendingCall]]) -> Batch:
    batch, call = under_way[0]
    call.acknowledged()
    under_way.popleft()
    return batch
