"""The map from standardised scores to expected change of loss."""

from __future__ import annotations

import numpy as np
import pytest

from creditline.attribution.ensembles.expected_change import ExpectedChange
from creditline.errors import InvalidInput

MAP = ExpectedChange((0.0, 1.0, 3.0), (0.0, 0.1, 0.5), common=0.01)


def test_it_is_linear_between_knots_and_constant_beyond() -> None:
    scores = np.zeros((1, 1000))
    scores[0, :3] = [30.0, 15.0, -30.0]
    values = (scores[0] - scores[0].mean()) / scores[0].std()
    found = MAP.of(scores)[0]
    assert found[0] == pytest.approx(0.51)
    assert found[1] == pytest.approx(0.01 + np.interp(values[1], MAP.knots, MAP.heights))
    assert found[2] == pytest.approx(0.01)


def test_a_querys_own_scale_does_not_matter() -> None:
    scores = np.random.default_rng(1).normal(size=(2, 50))
    np.testing.assert_allclose(MAP.of(scores), MAP.of(1e3 * scores + 7.0))


def test_it_never_falls() -> None:
    scores = np.sort(np.random.default_rng(2).normal(size=(3, 200)) ** 3, axis=1)
    assert np.all(np.diff(MAP.of(scores), axis=1) >= 0)


@pytest.mark.parametrize(
    ("knots", "heights"),
    [((0.0, 1.0), (0.0,)), ((0.0, 0.0), (0.0, 1.0)), ((0.0, 1.0), (0.1, 0.2)), ((0.0, 1.0), (0.0, np.nan))],
)
def test_invalid_knots_or_heights_are_refused(knots: tuple[float, ...], heights: tuple[float, ...]) -> None:
    with pytest.raises(InvalidInput):
        ExpectedChange(knots, heights)


def test_a_map_survives_json() -> None:
    assert ExpectedChange.from_json(MAP.to_json()) == MAP
