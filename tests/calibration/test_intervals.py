"""Intervals of an answer: they contain the expected value, and are the same after writing and reading."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from creditline.calibration.intervals import AnswerIntervals, DeviationInterval, Intervals, KindOfQueries
from creditline.errors import InvalidInput

_BAND = Intervals((0.0, 0.5), (0.0, 0.1), (0.2, 0.4), 0.9)
_SURE = AnswerIntervals(_BAND, DeviationInterval(-0.5, 0.25), DeviationInterval(-0.1, 0.3))


@given(st.floats(0, 1), st.floats(-3, 0), st.floats(0, 3), st.floats(0, 1))
def test_the_bounds_enclose_the_expected_part_and_lie_between_0_and_1(
    expected: float, low: float, high: float, error: float
) -> None:
    below, above = DeviationInterval(low, high).of(expected, error=error)
    assert 0.0 <= below <= expected <= above <= 1.0


def test_a_sampled_sum_has_a_wider_interval_than_a_complete_one() -> None:
    counted, sampled = DeviationInterval(-0.2, 0.2).of(0.3), DeviationInterval(-0.2, 0.2).of(0.3, error=0.1)
    assert sampled[0] < counted[0] < counted[1] < sampled[1]


def test_what_is_written_is_read_again() -> None:
    assert AnswerIntervals.from_json(_SURE.to_json()) == _SURE


@pytest.mark.parametrize("without", ["level", "works", "remainder", "contributors"])
def test_intervals_with_a_missing_part_are_refused(without: str) -> None:
    content = json.loads(_SURE.to_json())
    del content[without]
    with pytest.raises(InvalidInput, match="does not contain intervals"):
        AnswerIntervals.from_json(json.dumps(content))


def test_a_stretch_whose_low_end_is_above_its_high_end_is_refused() -> None:
    with pytest.raises(InvalidInput, match="fit it again"):
        DeviationInterval(0.1, -0.1)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"works": {"cosine": "x"}}'])
def test_text_without_intervals_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="does not contain intervals"):
        AnswerIntervals.from_json(text)


def test_a_query_gets_the_intervals_of_its_kind_and_none_where_no_work_is_near() -> None:
    near = replace(_SURE, works=Intervals((0.0,), (0.2,), (0.3,), 0.9))
    kinds = replace(_SURE, by_nearest=(KindOfQueries(0.4, _SURE), KindOfQueries(0.8, near)))
    assert kinds.for_query(0.39) is None
    assert kinds.for_query(0.4) == _SURE
    assert kinds.for_query(0.79) == _SURE
    assert kinds.for_query(0.95) == near
    assert AnswerIntervals.from_json(kinds.to_json()) == kinds


def test_intervals_without_kinds_hold_for_every_query() -> None:
    assert _SURE.for_query(-1.0) is _SURE


def test_kinds_out_of_order_are_refused() -> None:
    with pytest.raises(InvalidInput, match="ascending"):
        replace(_SURE, by_nearest=(KindOfQueries(0.8, _SURE), KindOfQueries(0.4, _SURE)))
