"""Texts batched by like length."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from creditline.towers.like_lengths import batches_of_like_length

# Of the module under test: cost of a forward pass in tokens.
_FORWARD = 20


def _cost(batches: list[list[int]], lengths: list[int]) -> int:
    return sum(_FORWARD + len(batch) * max(lengths[index] for index in batch) for batch in batches)


def _least_cost(lengths: list[int], most: int) -> int:
    """By trying every division of the sorted texts."""
    order, costs = sorted(range(len(lengths)), key=lengths.__getitem__), []
    for cuts in itertools.product([False, True], repeat=len(order) - 1):
        batches = [[order[0]]]
        for index, cut in zip(order[1:], cuts, strict=True):
            if cut:
                batches.append([])
            batches[-1].append(index)
        if max(map(len, batches)) <= most:
            costs.append(_cost(batches, lengths))
    return min(costs)


@pytest.mark.parametrize("seed", range(5))
def test_no_division_costs_less(seed: int) -> None:
    lengths = np.random.default_rng(seed).integers(2, 40, 9).tolist()
    batches = batches_of_like_length(lengths, most=4)
    assert sorted(index for batch in batches for index in batch) == list(range(9))
    assert max(map(len, batches)) <= 4
    assert _cost(batches, lengths) == _least_cost(lengths, 4)


def test_texts_of_one_length_fill_batches_and_a_long_one_is_alone() -> None:
    assert batches_of_like_length([12, 12, 100, 13, 12], 16) == [[2], [0, 1, 4, 3]]
    assert sorted(map(len, batches_of_like_length([7] * 40, 16))) == [8, 16, 16]
    assert batches_of_like_length([], 16) == []
