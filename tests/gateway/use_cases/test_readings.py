"""How a query is read: calibration and intervals by the nearest work of the release."""

from __future__ import annotations

import math
from datetime import UTC, datetime

import numpy as np
import pytest

from creditline.api.answers import ReleaseSummary
from creditline.calibration import Calibration
from creditline.calibration.holders import whole
from creditline.calibration.intervals import AnswerIntervals, DeviationInterval, Intervals, KindOfQueries
from creditline.calibration.remainder import CorpusSample
from creditline.calibration.softmax import Softmax
from creditline.embedder_client.queries import EmbeddedQuery
from creditline.gateway.settings import LowAgreement
from creditline.gateway.use_cases.prompts.policy import PromptPolicy, Reading
from creditline.gateway.use_cases.releases import ServedRelease

_INTERVALS = AnswerIntervals(
    Intervals((0.0,), (0.0,), (0.2,), 0.9), DeviationInterval(-0.1, 0.1), DeviationInterval(-0.1, 0.1)
)
_KINDS = AnswerIntervals(
    _INTERVALS.works, _INTERVALS.remainder, _INTERVALS.contributors, (KindOfQueries(0.7, _INTERVALS),)
)
_SOFTMAX = Softmax(math.log(0.1), 0.0, math.log(0.01), 0.0, 0.0)
_VECTORS = np.array([[1.0, 0.0], [0.0, 1.0]], dtype=np.float32)


def _release(intervals: AnswerIntervals | None) -> ServedRelease:
    summary = ReleaseSummary("r", datetime(2026, 1, 1, tzinfo=UTC), "g", "c", "t", 2, 2, "r")
    return ServedRelease(
        summary,
        Calibration((0.0,), (0.0,), softmax=_SOFTMAX),
        intervals,
        CorpusSample.draw(("a", "b"), (whole("ann"), whole("ben")), _VECTORS, seed=0),
    )


def _reading(angle: float, intervals: AnswerIntervals | None) -> Reading:
    vector = np.array([math.cos(angle), math.sin(angle)], dtype=np.float32)
    query = EmbeddedQuery(vector, None, None)
    policy = PromptPolicy(0.0, LowAgreement.ANSWER)
    return policy.reading(query, _release(intervals), private=False)


def test_a_query_near_a_work_gets_intervals_and_one_far_from_all_works_none() -> None:
    near, far = _reading(0.1, _KINDS), _reading(math.pi * 0.8, _KINDS)
    assert near.intervals == _INTERVALS
    assert not near.intervals_withheld
    assert far.intervals is None
    assert far.intervals_withheld


def test_a_release_without_intervals_withholds_none() -> None:
    assert not _reading(0.1, None).intervals_withheld


@pytest.mark.parametrize("angle", [0.0, 0.6])
def test_influence_is_expected_by_the_distance_from_the_nearest_work(angle: float) -> None:
    nearest = max(math.cos(angle), math.sin(angle))
    found = _reading(angle, None).calibration.expected_influence([nearest, nearest - 0.1])
    np.testing.assert_allclose(found, [1.01, math.exp(-1.0) + 0.01], rtol=2e-3)
