"""Pipelining of calls with a bound on how many are in flight at once."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from typing import Protocol, TypeVar

Batch = TypeVar("Batch")


class PendingCall(Protocol):
    """A call that was sent and has not been acknowledged yet."""

    def acknowledged(self) -> object:
        """Wait for the acknowledgement. Raises the error of a failed call."""
        ...

    def cancel(self) -> None:
        """Cancel the call; it may still take effect on the server."""
        ...


def acknowledged_in_order(
    batches: Iterable[Batch], send: Callable[[Batch], PendingCall], *, limit: int
) -> Generator[Batch, None, None]:
    """Send every batch and yield it once it is acknowledged, in the order of sending.

    The first failure in making, sending or acknowledging a batch ends the iteration: no further batch is
    sent, and the calls in flight are cancelled. The same happens when the caller closes the iterator.

    Args:
        batches: Batches to send; each is made while earlier ones are in flight.
        send: Starts the call for one batch.
        limit: Maximum number of calls in flight, at least 1.

    Raises:
        Exception: The first failure.
    """
    in_flight: deque[tuple[Batch, PendingCall]] = deque()
    try:
        for batch in batches:
            while len(in_flight) >= limit:
                yield _oldest_acknowledged(in_flight)
            in_flight.append((batch, send(batch)))
        while in_flight:
            yield _oldest_acknowledged(in_flight)
    finally:
        for _, call in in_flight:
            call.cancel()


def _oldest_acknowledged(in_flight: deque[tuple[Batch, PendingCall]]) -> Batch:
    batch, call = in_flight[0]
    call.acknowledged()
    in_flight.popleft()
    return batch
