"""Measures of agreement against slow, obviously right implementations."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from creditline.errors import InvalidInput
from creditline.evaluation.agreement import average_precision, mean_ranks, ndcg_at_k, recall_at_k, spearman

# Small whole numbers, so that ties happen and sums are exact.
lists = st.integers(2, 30).flatmap(
    lambda size: st.tuples(
        *(arrays(np.float64, size, elements=st.integers(-4, 6).map(float)) for _ in range(2)),
        st.integers(1, size),
    )
)


def ranking(values: np.ndarray) -> list[int]:
    return sorted(range(len(values)), key=lambda row: (-values[row], row))


def slow_ndcg(scores: np.ndarray, influence: np.ndarray, k: int) -> float:
    def gain(rows: list[int]) -> float:
        return sum(
            max(influence[row], 0.0) / math.log2(rank + 1) for rank, row in enumerate(rows[:k], start=1)
        )

    best = gain(ranking(influence))
    return gain(ranking(scores)) / best if best else 1.0


def slow_average_precision(scores: np.ndarray, influence: np.ndarray, relevant: int) -> float:
    wanted = set(ranking(influence)[:relevant])
    order = ranking(scores)
    hits = [rank for rank, row in enumerate(order, start=1) if row in wanted]
    return sum((number + 1) / rank for number, rank in enumerate(hits)) / len(hits)


def slow_ranks(values: np.ndarray) -> list[float]:
    return [
        sum(other < value for other in values) + (sum(other == value for other in values) - 1) / 2
        for value in values
    ]


@given(lists)
@settings(max_examples=60, deadline=None)
def test_ndcg_matches_a_plain_computation(drawn: tuple[np.ndarray, np.ndarray, int]) -> None:
    assert ndcg_at_k(*drawn) == pytest.approx(slow_ndcg(*drawn))


@given(lists)
@settings(max_examples=60, deadline=None)
def test_recall_is_the_shared_part_of_the_two_first_k(drawn: tuple[np.ndarray, np.ndarray, int]) -> None:
    scores, influence, k = drawn
    assert (
        recall_at_k(scores, influence, k) == len(set(ranking(scores)[:k]) & set(ranking(influence)[:k])) / k
    )


@given(lists)
@settings(max_examples=60, deadline=None)
def test_average_precision_matches_a_plain_computation(drawn: tuple[np.ndarray, np.ndarray, int]) -> None:
    assert average_precision(*drawn) == pytest.approx(slow_average_precision(*drawn))


@given(lists)
@settings(max_examples=60, deadline=None)
def test_ranks_of_equal_values_are_their_mean(drawn: tuple[np.ndarray, np.ndarray, int]) -> None:
    assert mean_ranks(drawn[0]).tolist() == slow_ranks(drawn[0])


@given(lists)
@settings(max_examples=60, deadline=None)
def test_spearman_is_the_correlation_of_the_ranks(drawn: tuple[np.ndarray, np.ndarray, int]) -> None:
    first, second = drawn[:2]
    constant = len(set(first)) == 1 or len(set(second)) == 1
    wanted = 0.0 if constant else np.corrcoef(slow_ranks(first), slow_ranks(second))[0, 1]
    assert spearman(first, second) == pytest.approx(wanted)


def test_negative_influence_gains_nothing() -> None:
    assert ndcg_at_k([3.0, 2.0, 1.0], [-5.0, 4.0, 0.0], 1) == 0.0
    assert ndcg_at_k([1.0, 2.0, 0.0], [-5.0, 4.0, 0.0], 1) == 1.0


def test_values_that_are_not_finite_or_not_of_the_same_works_are_refused() -> None:
    with pytest.raises(InvalidInput, match="NaN"):
        spearman([1.0, float("nan")], [1.0, 2.0])
    with pytest.raises(InvalidInput, match="the same works"):
        ndcg_at_k([1.0], [1.0, 2.0], 1)
