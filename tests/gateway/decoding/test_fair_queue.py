"""The queue in front of the decoders: callers take turns, by what their pictures cost."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from creditline.gateway.decoding.fair_queue import FairQueue, QueueFull


def _queue(quantum: int = 10, most_items: int = 100, most_bytes: int = 1_000_000) -> FairQueue[str]:
    return FairQueue(quantum=quantum, most_items=most_items, most_bytes=most_bytes)


def _put(queue: FairQueue[str], caller: str, *items: str, cost: int = 10, size: int = 1) -> list[str]:
    return [out for item in items for out in queue.put(item, caller=caller, cost=cost, size_bytes=size)]


def _popped(queue: FairQueue[str], count: int) -> str:
    return "".join(queue.pop() or "-" for _ in range(count))


def test_callers_with_equal_pictures_take_turns_however_many_each_has_queued() -> None:
    queue = _queue()
    _put(queue, "greedy", *"abcdef")
    _put(queue, "other", *"xy")
    _put(queue, "third", "t")
    assert _popped(queue, 10) == "axtbycdef-"


def test_who_queues_large_pictures_waits_as_much_longer_as_they_cost() -> None:
    queue = _queue()
    _put(queue, "large", *"LMN", cost=40)
    _put(queue, "small", *"abcdefghij", cost=10)
    order = _popped(queue, 13)
    assert order == "abcLdefgMhijN"


def test_a_caller_without_pictures_saves_up_nothing() -> None:
    queue = _queue()
    _put(queue, "early", "e")
    assert _popped(queue, 2) == "e-"
    _put(queue, "late", *"xyz")
    _put(queue, "early", *"abc")
    assert _popped(queue, 6) == "xaybzc"


def test_a_full_queue_refuses_the_newest_of_who_has_most_queued() -> None:
    queue = _queue(most_items=4)
    _put(queue, "greedy", *"abcd")
    with pytest.raises(QueueFull):
        _put(queue, "greedy", "e")
    assert _put(queue, "other", "x") == ["d"]
    assert _put(queue, "other", "y") == ["c"]
    with pytest.raises(QueueFull):
        _put(queue, "other", "z")
    assert _popped(queue, 5) == "axby-"


def test_the_total_size_of_files_is_bounded_too() -> None:
    queue = _queue(most_bytes=100)
    _put(queue, "greedy", *"ab", size=50)
    with pytest.raises(QueueFull):
        _put(queue, "greedy", "c", size=1)
    assert _put(queue, "other", "x", size=50) == ["b"]


def test_who_leaves_the_queue_makes_room() -> None:
    queue = _queue(most_items=2)
    _put(queue, "one", *"ab")
    queue.discard("a", caller="one")
    queue.discard("not queued", caller="one")
    queue.discard("a", caller="unknown")
    _put(queue, "one", "c")
    assert list(queue.oldest()) == ["b"]
    assert _popped(queue, 3) == "bc-"


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 40)), max_size=60),
    st.integers(min_value=1, max_value=50),
)
def test_every_item_comes_out_once_and_each_callers_in_order(
    puts: list[tuple[str, int]], quantum: int
) -> None:
    queue: FairQueue[tuple[str, int]] = FairQueue(quantum=quantum, most_items=100, most_bytes=10**9)
    for number, (caller, cost) in enumerate(puts):
        queue.put((caller, number), caller=caller, cost=cost, size_bytes=1)
    popped = [queue.pop() for _ in puts]
    assert queue.pop() is None
    assert len(queue) == 0
    assert Counter(popped) == Counter((caller, number) for number, (caller, _) in enumerate(puts))
    for caller in "abc":
        numbers = [item[1] for item in popped if item is not None and item[0] == caller]
        assert numbers == sorted(numbers)


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 20))
def test_two_busy_callers_get_the_same_number_of_pixels(first: int, second: int, quantum: int) -> None:
    queue: FairQueue[tuple[str, int]] = FairQueue(quantum=quantum, most_items=2_000, most_bytes=10**9)
    for caller, cost in (("a", first), ("b", second)):
        for _ in range(1_000):
            queue.put((caller, cost), caller=caller, cost=cost, size_bytes=1)
    spent = Counter[str]()
    for _ in range(1_000):
        caller, cost = queue.pop() or ("", 0)
        spent[caller] += cost
    if max(spent.values()) < 1_000 * min(first, second):
        assert abs(spent["a"] - spent["b"]) <= 2 * (quantum + max(first, second))
