"""The calibration curve against a slow, obviously right interpolation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from creditline.calibration import Calibration
from creditline.errors import InvalidInput

_CURVE = Calibration(cosine=(-0.2, 0.1, 0.5, 0.9), influence=(-1.0, 0.0, 0.5, 4.0))


def _slow(curve: Calibration, cosine: float) -> float:
    """Linear interpolation, knot by knot."""
    if cosine <= curve.cosine[0]:
        return curve.influence[0]
    for left in range(len(curve.cosine) - 1):
        low, high = curve.cosine[left], curve.cosine[left + 1]
        if cosine <= high:
            rise = curve.influence[left + 1] - curve.influence[left]
            return curve.influence[left] + rise * (cosine - low) / (high - low)
    return curve.influence[-1]


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=20))
def test_expected_influence_matches_linear_interpolation_between_knots(cosines: list[float]) -> None:
    expected = [_slow(_CURVE, cosine) for cosine in cosines]
    assert np.allclose(_CURVE.expected_influence(cosines), expected, atol=1e-12)


@given(st.floats(-1, 1), st.floats(-1, 1))
def test_a_higher_cosine_never_expects_less_influence(first: float, second: float) -> None:
    low, high = sorted((first, second))
    values = _CURVE.expected_influence([low, high])
    assert values[0] <= values[1]


def test_beyond_its_ends_the_curve_is_flat() -> None:
    assert _CURVE.expected_influence([-1.0, 1.0]).tolist() == [-1.0, 4.0]


def test_a_calibration_survives_json() -> None:
    assert Calibration.from_json(_CURVE.to_json()) == _CURVE


@pytest.mark.parametrize(
    ("cosine", "influence", "field"),
    [
        ((0.0, 1.0), (0.0,), "calibration"),
        ((), (), "calibration"),
        ((0.0, float("nan")), (0.0, 1.0), "calibration"),
        ((0.5, 0.5), (0.0, 1.0), "cosine"),
        ((0.0, 0.5), (1.0, 0.0), "influence"),
    ],
)
def test_knots_that_are_not_a_monotone_curve_are_refused(
    cosine: tuple[float, ...], influence: tuple[float, ...], field: str
) -> None:
    with pytest.raises(InvalidInput) as refused:
        Calibration(cosine, influence)
    assert refused.value.field == field


def test_the_positive_part_is_a_curve_of_its_own() -> None:
    doubtful = Calibration((0.0, 1.0), (-0.2, 0.6), (0.1, 0.7))
    assert doubtful.expected_positive([-1.0, 0.5, 2.0]).tolist() == pytest.approx([0.1, 0.4, 0.7])
    assert Calibration.from_json(doubtful.to_json()) == doubtful
    certain = Calibration((0.0, 1.0), (-0.2, 0.6))
    assert certain.positive == (0.0, 0.6)
    for positive, field in (((0.3, 0.2), "positive"), ((-0.1, 0.2), "positive"), ((0.1,), "calibration")):
        with pytest.raises(InvalidInput) as refused:
            Calibration((0.0, 1.0), (-0.2, 0.6), positive)
        assert refused.value.field == field


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"cosine": [0], "influence": ["x"]}', '{"cosine": 1, "influence": 2}']
)
def test_what_is_not_a_calibration_file_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="'cosine' and 'influence'"):
        Calibration.from_json(text)
