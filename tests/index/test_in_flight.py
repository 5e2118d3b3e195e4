"""Calls in flight: bounded in number, acknowledged in order, and ended by the first failure."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future

import pytest

from creditline.errors import Unavailable
from creditline.index.in_flight import acknowledged_in_order


class _Call:
    """A call whose acknowledgement the test controls."""

    def __init__(self, error: Exception | None = None) -> None:
        self.acknowledgement: Future[None] = Future()
        if error is not None:
            self.acknowledgement.set_exception(error)

    def acknowledged(self) -> None:
        if not self.acknowledgement.done():
            self.acknowledgement.set_result(None)
        self.acknowledgement.result()

    def cancel(self) -> None:
        self.acknowledgement.cancel()


class _Receiver:
    """Records the calls that were sent; the call for batch `failing` fails."""

    def __init__(self, failing: int | None = None) -> None:
        self.failing = failing
        self.calls: list[_Call] = []

    def send(self, batch: int) -> _Call:
        self.calls.append(
            _Call(Unavailable(f"batch {batch}", service="qdrant") if batch == self.failing else None)
        )
        return self.calls[-1]

    @property
    def open(self) -> int:
        return sum(not call.acknowledgement.done() for call in self.calls)

    @property
    def cancelled(self) -> list[int]:
        return [number for number, call in enumerate(self.calls) if call.acknowledgement.cancelled()]


@pytest.mark.parametrize("limit", [1, 2, 3, 20])
def test_every_batch_is_acknowledged_in_order_with_at_most_limit_in_flight(limit: int) -> None:
    receiver, most, done = _Receiver(), 0, []

    def counted(batch: int) -> _Call:
        nonlocal most
        call = receiver.send(batch)
        most = max(most, receiver.open)
        return call

    for batch in acknowledged_in_order(range(9), counted, limit=limit):
        done.append(batch)
    assert done == list(range(9))
    assert most == min(limit, 9)
    assert receiver.open == 0


def test_a_failed_batch_cancels_later_batches() -> None:
    receiver, done = _Receiver(failing=2), []
    with pytest.raises(Unavailable, match="batch 2"):
        done.extend(acknowledged_in_order(range(9), receiver.send, limit=3))
    assert done == [0, 1]
    assert len(receiver.calls) == 5
    assert receiver.cancelled == [3, 4]


def test_a_batch_that_cannot_be_made_cancels_calls_in_flight() -> None:
    def batches() -> Iterator[int]:
        yield from (0, 1)
        raise ValueError("unreadable")

    receiver = _Receiver()
    with pytest.raises(ValueError, match="unreadable"):
        list(acknowledged_in_order(batches(), receiver.send, limit=3))
    assert receiver.cancelled == [0, 1]


def test_closing_the_iterator_cancels_calls_in_flight() -> None:
    receiver = _Receiver()
    acknowledged = acknowledged_in_order(range(9), receiver.send, limit=3)
    assert next(acknowledged) == 0
    acknowledged.close()
    assert receiver.cancelled == [1, 2]
