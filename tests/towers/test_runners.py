"""Forward passes on the threads that the towers share."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from creditline.towers.runners import Runners

_SECONDS = 10.0


def _no_tower(inputs: object) -> Tensor:
    raise AssertionError("no tower is run")


def test_a_pass_runs_while_later_ones_are_being_made() -> None:
    started = threading.Event()

    def first() -> Tensor:
        started.set()
        return torch.tensor(1)

    def passes() -> Iterator[Callable[[], Tensor]]:
        yield first
        assert started.wait(_SECONDS), "the first pass waits for the second one to be made"
        yield lambda: torch.tensor(2)

    assert torch.stack(Runners(_no_tower, _no_tower, threads=2).run(passes())).tolist() == [1, 2]


def test_results_are_in_the_order_of_the_passes_whichever_ends_first() -> None:
    second = threading.Event()

    def slow() -> Tensor:
        assert second.wait(_SECONDS), "both passes run at the same time"
        return torch.tensor(1)

    def quick() -> Tensor:
        second.set()
        return torch.tensor(2)

    assert torch.stack(Runners(_no_tower, _no_tower, threads=2).run([slow, quick])).tolist() == [1, 2]
