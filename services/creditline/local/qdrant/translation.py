"""Qdrant's gRPC messages as Qdrant Edge's objects, and back.

Only what Creditline uses is translated; everything else raises NotServed by name, so that a call never
does less than it says.
"""

from __future__ import annotations

import math
import uuid
from collections.abc import Iterable, Mapping
from typing import Any

import qdrant_edge as edge
from qdrant_client import grpc as qdrant

from creditline.errors import CreditlineError, InvalidInput

PointId = int | uuid.UUID

_DISTANCES = {
    qdrant.Distance.Cosine: edge.Distance.Cosine,
    qdrant.Distance.Dot: edge.Distance.Dot,
    qdrant.Distance.Euclid: edge.Distance.Euclid,
    qdrant.Distance.Manhattan: edge.Distance.Manhattan,
}
_FIELD_TYPES = {
    qdrant.FieldType.FieldTypeKeyword: edge.PayloadSchemaType.Keyword,
    qdrant.FieldType.FieldTypeInteger: edge.PayloadSchemaType.Integer,
    qdrant.FieldType.FieldTypeFloat: edge.PayloadSchemaType.Float,
}
_OPTIMIZER_FIELDS = (
    "deleted_threshold",
    "vacuum_min_vector_number",
    "default_segment_number",
    "max_segment_size",
    "indexing_threshold",
)
_DEFAULT_LIMIT = 10


class NotServed(CreditlineError):
    """A part of Qdrant's API that the local process does not have."""

    def __init__(self, what: str) -> None:
        super().__init__(
            f"Creditline's local Qdrant process does not serve {what}; "
            "run a Qdrant server and point CREDITLINE_QDRANT_HOST at it"
        )


def completed(request: qdrant.CreateCollection) -> qdrant.CreateCollection:
    """The request with Qdrant's own defaults where it says nothing; clients expect to be told them."""
    whole = qdrant.CreateCollection(
        hnsw_config=qdrant.HnswConfigDiff(m=16, ef_construct=100, full_scan_threshold=10_000),
        optimizers_config=qdrant.OptimizersConfigDiff(
            deleted_threshold=0.2,
            vacuum_min_vector_number=1_000,
            default_segment_number=0,
            indexing_threshold=10_000,
            flush_interval_sec=0,
        ),
    )
    whole.MergeFrom(request)
    return whole


def edge_config(request: qdrant.CreateCollection) -> edge.EdgeConfig:
    """The shard's configuration for a `completed` request. Raises InvalidInput, NotServed."""
    if request.vectors_config.WhichOneof("config") != "params":
        raise NotServed("named vectors")
    vector = request.vectors_config.params
    if vector.size < 1:
        raise InvalidInput(f"a vector of width {vector.size} cannot be stored", field="vectors_config")
    if vector.distance not in _DISTANCES:
        raise InvalidInput(f"distance {vector.distance} is not known", field="vectors_config")
    return edge.EdgeConfig(
        vectors=edge.EdgeVectorParams(size=vector.size, distance=_DISTANCES[vector.distance]),
        hnsw_config=_hnsw(request.hnsw_config),
        quantization_config=_quantization(request),
        optimizers=_optimizers(request.optimizers_config),
    )


def _hnsw(diff: qdrant.HnswConfigDiff) -> edge.HnswIndexConfig:
    return edge.HnswIndexConfig(
        m=diff.m, ef_construct=diff.ef_construct, full_scan_threshold=diff.full_scan_threshold
    )


def _quantization(request: qdrant.CreateCollection) -> edge.ScalarQuantizationConfig | None:
    if not request.HasField("quantization_config"):
        return None
    if request.quantization_config.WhichOneof("quantization") != "scalar":
        raise NotServed("quantization other than scalar")
    scalar = request.quantization_config.scalar
    return edge.ScalarQuantizationConfig(
        type=edge.ScalarType.Int8,
        quantile=scalar.quantile if scalar.HasField("quantile") else None,
        always_ram=scalar.always_ram if scalar.HasField("always_ram") else None,
    )


def _optimizers(diff: qdrant.OptimizersConfigDiff) -> edge.EdgeOptimizersConfig:
    given = {field.name: value for field, value in diff.ListFields()}
    return edge.EdgeOptimizersConfig(**{name: given.get(name) for name in _OPTIMIZER_FIELDS})


def edge_field_type(request: qdrant.CreateFieldIndexCollection) -> edge.PayloadSchemaType:
    """The kind of a payload index. Bools are refused: Qdrant Edge never matches one."""
    if request.field_type not in _FIELD_TYPES:
        name = qdrant.FieldType.Name(request.field_type)
        raise NotServed(f"an index of type {name} on {request.field_name!r} (keyword, integer and float are)")
    return _FIELD_TYPES[request.field_type]


def edge_id(point: qdrant.PointId) -> PointId:
    """Raises InvalidInput for a text that is no UUID."""
    if point.WhichOneof("point_id_options") == "num":
        return point.num
    try:
        return uuid.UUID(point.uuid)
    except ValueError:
        raise InvalidInput(f"point id {point.uuid!r} is neither a number nor a UUID", field="id") from None


def grpc_id(point: PointId) -> qdrant.PointId:
    return qdrant.PointId(num=point) if isinstance(point, int) else qdrant.PointId(uuid=str(point))


def edge_point(point: qdrant.PointStruct) -> edge.Point:
    """A point to store. Raises InvalidInput for a vector that is not finite: Edge would store it silently."""
    if point.vectors.WhichOneof("vectors_options") != "vector":
        raise NotServed("named vectors, or points without a vector,")
    return edge.Point(edge_id(point.id), _stored_numbers(point.vectors.vector), python_payload(point.payload))


def _stored_numbers(vector: qdrant.Vector) -> list[float]:
    """From the newer form, `dense`, or the older one, `data`."""
    if vector.WhichOneof("vector") == "dense":
        return finite(vector.dense.data)
    if vector.data:
        return finite(vector.data)
    raise NotServed("vectors that are not dense")


def _queried_numbers(vector: qdrant.VectorInput) -> list[float]:
    kind = vector.WhichOneof("variant")
    if kind != "dense":
        raise NotServed(f"a query by {kind} (a dense vector is)")
    return finite(vector.dense.data)


def finite(numbers: Iterable[float]) -> list[float]:
    """The numbers as a list. Raises InvalidInput for NaN and infinities."""
    values = list(numbers)
    # The sum is finite only when every part is, and costs a tenth of asking each.
    if not math.isfinite(sum(values)):
        raise InvalidInput("the vector holds a number that is not finite (NaN or infinite)", field="vector")
    return values


def python_payload(payload: Mapping[str, qdrant.Value]) -> dict[str, Any]:
    return {name: _python_value(value) for name, value in payload.items()}


def _python_value(value: qdrant.Value) -> Any:
    kind = value.WhichOneof("kind")
    if kind is None or kind == "null_value":
        return None
    if kind == "struct_value":
        return python_payload(value.struct_value.fields)
    if kind == "list_value":
        return [_python_value(item) for item in value.list_value.values]
    return getattr(value, kind)


def _fill_value(message: qdrant.Value, value: Any) -> None:
    match value:
        case str():
            message.string_value = value
        case bool():
            message.bool_value = value
        case int():
            message.integer_value = value
        case float():
            message.double_value = value
        case None:
            message.null_value = qdrant.NullValue.NULL_VALUE
        case list():
            message.list_value.SetInParent()
            for item in value:
                _fill_value(message.list_value.values.add(), item)
        case dict():
            message.struct_value.SetInParent()
            for name, item in value.items():
                _fill_value(message.struct_value.fields[name], item)
        case _:
            raise TypeError(f"a payload cannot hold {type(value).__name__}")


def edge_filter(message: qdrant.Filter) -> edge.Filter:
    """Raises InvalidInput and NotServed for conditions that Edge would answer wrongly or not at all."""
    if message.HasField("min_should"):
        raise NotServed("the filter min_should")
    return edge.Filter(
        must=_conditions(message.must),
        should=_conditions(message.should),
        must_not=_conditions(message.must_not),
    )


def optional_filter(message: qdrant.Filter) -> edge.Filter | None:
    """None for a filter without conditions."""
    return edge_filter(message) if message.ByteSize() else None


def _conditions(messages: Iterable[qdrant.Condition]) -> list[Any] | None:
    return [_condition(message) for message in messages] or None


def _condition(message: qdrant.Condition) -> Any:
    kind = message.WhichOneof("condition_one_of")
    match kind:
        case "field":
            return _field_condition(message.field)
        case "has_id":
            return edge.HasIdCondition({edge_id(point) for point in message.has_id.has_id})
        case "filter":
            return edge_filter(message.filter)
        case "is_empty":
            return edge.IsEmptyCondition(message.is_empty.key)
        case "is_null":
            return edge.IsNullCondition(message.is_null.key)
    raise NotServed(f"the filter condition {kind}")


def _field_condition(message: qdrant.FieldCondition) -> edge.FieldCondition:
    if message.HasField("match"):
        return edge.FieldCondition(message.key, match=_match(message.key, message.match))
    if message.HasField("range"):
        limits = {name.name: value for name, value in message.range.ListFields()}
        return edge.FieldCondition(message.key, range=edge.RangeFloat(**limits))
    raise NotServed(f"the condition on {message.key!r} (match and range are served)")


def _match(key: str, message: qdrant.Match) -> Any:
    kind = message.WhichOneof("match_value")
    match kind:
        case "keyword":
            return edge.MatchValue(message.keyword)
        case "integer":
            return edge.MatchValue(message.integer)
        case "keywords":
            return edge.MatchAny(list(message.keywords.strings))
        case "integers":
            return edge.MatchAny(list(message.integers.integers))
        case "except_keywords":
            return edge.MatchExcept(list(message.except_keywords.strings))
        case "except_integers":
            return edge.MatchExcept(list(message.except_integers.integers))
        case "boolean":
            raise InvalidInput(
                f"the filter matches {key!r} against a bool, which Qdrant Edge never finds; "
                "store the integer 0 or 1 and match that",
                field="filter",
            )
    raise NotServed(f"the match {kind} on {key!r}")


def edge_query(request: qdrant.QueryPoints) -> edge.QueryRequest:
    """Nearest points to a dense vector; prefetches, fusions and the rest raise NotServed."""
    kind = request.query.WhichOneof("variant")
    if kind != "nearest" or request.prefetch or request.using:
        raise NotServed(
            f"the query {kind or 'without a vector'} (only nearest, without prefetch or using, is)"
        )
    return edge.QueryRequest(
        limit=request.limit if request.HasField("limit") else _DEFAULT_LIMIT,
        offset=request.offset if request.HasField("offset") else None,
        query=edge.Query.Nearest(_queried_numbers(request.query.nearest)),
        filter=optional_filter(request.filter),
        score_threshold=request.score_threshold if request.HasField("score_threshold") else None,
        params=_search_params(request.params),
        with_payload=edge_payload_selector(request, default=False),
        with_vector=with_vectors(request),
    )


def edge_search(request: qdrant.SearchPoints) -> edge.QueryRequest:
    """The older form of the same request."""
    if request.vector_name or request.HasField("sparse_indices"):
        raise NotServed("searches in named or sparse vectors")
    return edge.QueryRequest(
        limit=request.limit,
        offset=request.offset if request.HasField("offset") else None,
        query=edge.Query.Nearest(finite(request.vector)),
        filter=optional_filter(request.filter),
        score_threshold=request.score_threshold if request.HasField("score_threshold") else None,
        params=_search_params(request.params),
        with_payload=edge_payload_selector(request, default=False),
        with_vector=with_vectors(request),
    )


def _search_params(message: qdrant.SearchParams) -> edge.SearchParams:
    quantization = None
    if message.HasField("quantization"):
        codes = message.quantization
        quantization = edge.QuantizationSearchParams(
            ignore=codes.ignore,
            rescore=codes.rescore if codes.HasField("rescore") else None,
            oversampling=codes.oversampling if codes.HasField("oversampling") else None,
        )
    return edge.SearchParams(
        hnsw_ef=message.hnsw_ef if message.HasField("hnsw_ef") else None,
        exact=message.exact,
        quantization=quantization,
        indexed_only=message.indexed_only,
    )


def edge_scroll(request: qdrant.ScrollPoints) -> edge.ScrollRequest:
    if request.HasField("order_by"):
        raise NotServed("scrolling in an order other than by id")
    return edge.ScrollRequest(
        offset=edge_id(request.offset) if request.HasField("offset") else None,
        limit=request.limit if request.HasField("limit") else _DEFAULT_LIMIT,
        filter=optional_filter(request.filter),
        with_payload=edge_payload_selector(request, default=True),
        with_vector=with_vectors(request),
    )


def edge_payload_selector(
    request: qdrant.QueryPoints | qdrant.SearchPoints | qdrant.ScrollPoints | qdrant.GetPoints,
    *,
    default: bool,
) -> Any:
    """All, none, or the named payload fields; `default` when the request does not say."""
    selector = request.with_payload
    match selector.WhichOneof("selector_options"):
        case "enable":
            return selector.enable
        case "include":
            return edge.PayloadSelector.Include(list(selector.include.fields))
        case "exclude":
            return edge.PayloadSelector.Exclude(list(selector.exclude.fields))
    return default


def with_vectors(
    request: qdrant.QueryPoints | qdrant.SearchPoints | qdrant.ScrollPoints | qdrant.GetPoints,
) -> bool:
    if request.with_vectors.WhichOneof("selector_options") == "include":
        raise NotServed("named vectors")
    return request.with_vectors.enable


def fill_scored(message: qdrant.ScoredPoint, point: Any) -> None:
    """From an Edge ScoredPoint. Filled in place: copying submessages costs three times as much."""
    message.score = point.score
    message.version = point.version
    _fill_point(message, point)


def fill_record(message: qdrant.RetrievedPoint, record: Any) -> None:
    """From an Edge Record."""
    _fill_point(message, record)


def _fill_point(message: qdrant.ScoredPoint | qdrant.RetrievedPoint, point: Any) -> None:
    message.id.CopyFrom(grpc_id(point.id))
    payload = message.payload
    for name, value in (point.payload or {}).items():
        _fill_value(payload[name], value)
    if point.vector is not None:
        # Both forms, as a Qdrant server sends them: older clients read `data`, newer ones `dense`.
        message.vectors.vector.data.extend(point.vector)
        message.vectors.vector.dense.data.extend(point.vector)
