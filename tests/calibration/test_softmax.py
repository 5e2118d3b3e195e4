"""A softmax of cosines: its parts by hand, its curve for one query, and its written form."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from creditline.calibration import Calibration
from creditline.calibration.softmax import Softmax
from creditline.errors import InvalidInput

SOFTMAX = Softmax(math.log(0.1), 0.0, math.log(0.01), math.log(4.0), 0.0)
CURVES = Calibration((0.0, 1.0), (0.0, 0.5))


def test_a_part_falls_off_with_the_distance_from_the_nearest_work_down_to_the_floor() -> None:
    found = SOFTMAX.parts([0.8, 0.7, -1.0], 0.8)
    expected = [(1.0 + 0.01) / 4.0, (math.exp(-1.0) + 0.01) / 4.0, (math.exp(-18.0) + 0.01) / 4.0]
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_temperature_and_sum_depend_on_the_nearest_work() -> None:
    other = Softmax(math.log(0.1), 1.0, math.log(0.01), 0.0, 2.0)
    found = other.parts([[0.9, 0.8], [0.5, 0.4]], [[0.9], [0.5]])
    depths = [0.1 / (0.1 * math.exp(nearest)) for nearest in (0.9, 0.5)]
    np.testing.assert_allclose(found[:, 0], [1.01 * math.exp(-1.8), 1.01 * math.exp(-1.0)], rtol=1e-12)
    np.testing.assert_allclose(found[:, 1] / found[:, 0], [(math.exp(-d) + 0.01) / 1.01 for d in depths])


@pytest.mark.parametrize("nearest", [-0.2, 0.4, 0.97])
def test_the_curve_of_a_query_gives_the_softmaxs_parts(nearest: float) -> None:
    calibration = Calibration((0.0,), (0.0,), softmax=SOFTMAX)
    cosines = np.linspace(-1.0, nearest, 101, dtype=np.float32)
    curve = calibration.for_query(nearest)
    expected = SOFTMAX.parts(cosines, nearest)
    np.testing.assert_allclose(curve.expected_influence(cosines), expected, rtol=2e-3)
    np.testing.assert_allclose(curve.expected_positive(cosines), expected, rtol=2e-3)


def test_queries_together_get_what_each_gets_alone() -> None:
    calibration = Calibration((0.0,), (0.0,), softmax=SOFTMAX)
    cosines = np.random.default_rng(3).uniform(-0.5, 0.9, (4, 30)).astype(np.float32)
    together, positive = calibration.of_queries(cosines)
    for row, values in zip(cosines, together, strict=True):
        alone = calibration.for_query(float(row.max())).expected_influence(row)
        np.testing.assert_allclose(values, alone, rtol=2e-3)
    np.testing.assert_array_equal(positive, together)


def test_without_a_softmax_the_curves_hold_for_every_query() -> None:
    assert CURVES.for_query(0.3) is CURVES
    cosines = np.array([[0.2, 0.4]], dtype=np.float32)
    np.testing.assert_allclose(CURVES.of_queries(cosines)[0], [[0.1, 0.2]], rtol=1e-6)


def test_what_is_written_is_read_again_with_and_without_a_softmax() -> None:
    for calibration in (CURVES, Calibration((0.0, 1.0), (0.0, 0.5), softmax=SOFTMAX)):
        assert Calibration.from_json(calibration.to_json()) == calibration


def test_a_softmax_that_lacks_a_value_or_is_not_finite_is_refused() -> None:
    content = json.loads(Calibration((0.0,), (0.0,), softmax=SOFTMAX).to_json())
    content["softmax"]["log_sum"] = math.nan
    with pytest.raises(InvalidInput, match="must be finite"):
        Calibration.from_json(json.dumps(content))
    del content["softmax"]["log_sum"]
    with pytest.raises(InvalidInput, match="not a calibration"):
        Calibration.from_json(json.dumps(content))
