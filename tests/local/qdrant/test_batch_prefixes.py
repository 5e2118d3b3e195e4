"""Which queries of a batch need no search of their own."""

from __future__ import annotations

from typing import Any

import pytest
from qdrant_client import grpc as qdrant

from creditline.local.qdrant.api.batch_prefixes import batch_prefixes


def _query(vector: tuple[float, ...] = (1.0, 0.0), **fields: Any) -> qdrant.QueryPoints:
    dense = qdrant.VectorInput(dense=qdrant.DenseVector(data=vector))
    return qdrant.QueryPoints(query=qdrant.Query(nearest=dense), **{"limit": 10, **fields})


def _rescored(oversampling: float, ef: int = 64) -> qdrant.SearchParams:
    quantization = qdrant.QuantizationSearchParams(rescore=True, oversampling=oversampling)
    return qdrant.SearchParams(hnsw_ef=ef, quantization=quantization)


def _only(key: str) -> qdrant.Filter:
    field = qdrant.FieldCondition(key=key, match=qdrant.Match(integer=0))
    return qdrant.Filter(must=[qdrant.Condition(field=field)])


def test_shorter_queries_for_the_same_points_are_prefixes_of_the_longest() -> None:
    asked = [_query(limit=2), _query(limit=9), _query((0.0, 1.0)), _query(limit=4), _query(limit=9)]
    assert batch_prefixes(asked) == {0: 1, 3: 1, 4: 1}


def test_a_query_is_a_prefix_only_if_it_rescores_as_many_points() -> None:
    longer = _query(limit=100, params=_rescored(2.0))
    assert batch_prefixes([longer, _query(limit=10, params=_rescored(20.0))]) == {1: 0}
    assert batch_prefixes([longer, _query(limit=10, params=_rescored(2.0))]) == {}


@pytest.mark.parametrize(
    "other",
    [
        {"offset": 1},
        {"filter": _only("withdrawn")},
        {"score_threshold": 0.0},
        {"params": qdrant.SearchParams(exact=True)},
        {"params": qdrant.SearchParams(hnsw_ef=32)},
        {"params": _rescored(1.0)},
        {"params": qdrant.SearchParams(acorn=qdrant.AcornSearchParams(enable=True))},
    ],
)
def test_a_query_with_another_vector_filter_or_parameter_is_searched_separately(
    other: dict[str, Any],
) -> None:
    assert batch_prefixes([_query(), _query(limit=5, **other)]) == {}


def test_a_query_without_a_limit_is_searched_separately() -> None:
    unlimited = _query()
    unlimited.ClearField("limit")
    assert batch_prefixes([_query(limit=20), unlimited]) == {}
