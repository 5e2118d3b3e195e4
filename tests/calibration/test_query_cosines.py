"""Cosines of a query: none before something depends on them, and never twice with the same works."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from creditline.calibration import Calibration
from creditline.calibration.holders import whole
from creditline.calibration.intervals import AnswerIntervals, DeviationInterval, Intervals, KindOfQueries
from creditline.calibration.query_cosines import QueryCosines
from creditline.calibration.remainder import CorpusSample
from creditline.calibration.softmax import Softmax

_CURVE = Calibration((0.0, 1.0), (0.0, 1.0))
_SOFTMAX = Calibration((0.0,), (0.0,), softmax=Softmax(-2.0, 0.0, -4.0, 0.0, 0.0))
_PLAIN = AnswerIntervals(
    Intervals((0.0,), (0.0,), (0.2,), 0.9), DeviationInterval(-0.1, 0.1), DeviationInterval(-0.1, 0.1)
)
_KINDS = AnswerIntervals(_PLAIN.works, _PLAIN.remainder, _PLAIN.contributors, (KindOfQueries(0.7, _PLAIN),))
_QUERY = np.array([0.6, 0.8], dtype=np.float32)


class Counted(np.ndarray):
    """Vectors that count how often they are multiplied with a query."""

    products = 0

    def __matmul__(self, other: Any) -> Any:
        self.products += 1
        return np.asarray(self) @ other


def _sample() -> tuple[CorpusSample, Counted]:
    vectors = np.array([[1.0, 0.0], [0.0, 1.0]], dtype=np.float32).view(Counted)
    return CorpusSample(("a", "b"), (whole("ann"), whole("ben")), vectors, 2), vectors


def test_a_release_with_one_curve_and_one_kind_of_queries_needs_no_cosines() -> None:
    (sample, vectors), cosines = _sample(), QueryCosines(_QUERY)
    assert cosines.calibration(_CURVE, sample) is _CURVE
    assert cosines.intervals(_PLAIN, sample) is _PLAIN
    assert vectors.products == 0


def test_curves_intervals_and_the_remainder_share_one_product() -> None:
    (sample, vectors), cosines = _sample(), QueryCosines(_QUERY)
    fitted = cosines.calibration(_SOFTMAX, sample)
    intervals = cosines.intervals(_KINDS, sample)
    merged = sample.of_people(str.upper)
    others = merged.others(_QUERY, fitted, {}, cosines=cosines.with_works(merged))
    sum_alone = merged.others_influence(_QUERY, fitted, {}, cosines=cosines.with_works(merged))

    assert vectors.products == 1
    assert (fitted, intervals) == (_SOFTMAX.for_query(float(_QUERY[1])), _PLAIN)
    assert others == merged.others(_QUERY, fitted, {})
    assert sum_alone == merged.others_influence(_QUERY, fitted, {})


def test_works_that_were_added_have_cosines_of_their_own() -> None:
    (sample, _), cosines = _sample(), QueryCosines(_QUERY)
    added = CorpusSample(("c",), (whole("cy"),), _QUERY[None], 1)
    grown = sample.with_added(added, seed=0)

    np.testing.assert_array_equal(cosines.with_works(sample), _QUERY)
    assert cosines.with_works(grown) == pytest.approx([0.6, 0.8, 1.0])
    assert cosines.intervals(_KINDS, sample) == _PLAIN


def test_a_query_without_works_is_like_none() -> None:
    nothing = CorpusSample((), (), np.empty((0, 2), dtype=np.float32), 0)
    assert QueryCosines(_QUERY).intervals(_KINDS, nothing) is None
