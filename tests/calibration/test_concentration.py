"""Concentration of influence, on cases with known values."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from creditline.calibration.concentration import above_even, concentration, equal_parts


def test_concentration_of_known_cases() -> None:
    one, even, none = np.array([[0.0, 0.0, 3.0, 0.0]]), np.full((1, 4), 0.2), np.zeros((1, 4))
    half = np.array([[0.5, 0.5, 0.0, -0.3]])
    assert concentration(one) == pytest.approx([1.0])
    assert concentration(even) == pytest.approx([0.0])
    assert concentration(none) == pytest.approx([0.0])
    assert concentration(half) == pytest.approx([(0.5 - 0.25) / 0.75])


def test_a_single_work_has_concentration_1() -> None:
    assert above_even(1.0, 1) == 1.0


@given(st.integers(1, 50), st.integers(0, 5_000))
def test_works_with_equal_parts_are_counted_however_many_have_none(having: int, others: int) -> None:
    parts = np.array([[1.0 / having] * having + [0.0] * others])
    assert equal_parts(float(concentration(parts)[0]), having + others) == pytest.approx(having, rel=1e-9)


@given(st.lists(st.floats(0.001, 1.0), min_size=2, max_size=60))
def test_equal_parts_are_the_inverse_of_the_sum_of_squared_parts(influences: list[float]) -> None:
    parts = np.array(influences) / sum(influences)
    squares = float(np.square(parts).sum())
    found = equal_parts(above_even(squares, len(parts)), len(parts))
    assert found == pytest.approx(1.0 / squares, rel=1e-9)
    assert 1.0 <= found <= len(parts) * (1 + 1e-9)


def test_a_concentration_is_not_inverted_as_if_it_were_a_sum_of_squares() -> None:
    assert round(equal_parts(1 / 743, 1776)) == 524
