"""Translates Qdrant's filters to Qdrant Edge's.

A condition that Edge would evaluate wrongly raises InvalidInput; one that Edge lacks raises Unsupported.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, Protocol, TypeVar

import qdrant_edge as edge
from google.protobuf.timestamp_pb2 import Timestamp

from creditline.errors import InvalidInput
from creditline.local.qdrant.translation.unsupported import Unsupported
from creditline.local.qdrant.translation.values import edge_id
from creditline.qdrant_messages import qdrant

_LIMITS: tuple[Literal["lt", "gt", "lte", "gte"], ...] = ("lt", "gt", "lte", "gte")
_Limit_co = TypeVar("_Limit_co", covariant=True)


def edge_filter(message: qdrant.Filter) -> edge.Filter:
    """Translate a filter.

    Raises:
        InvalidInput: Edge would evaluate a condition wrongly, or an id is malformed.
        Unsupported: Edge lacks a condition.
    """
    return edge.Filter(
        must=_conditions(message.must),
        should=_conditions(message.should),
        must_not=_conditions(message.must_not),
        min_should=_min_should(message.min_should) if message.HasField("min_should") else None,
    )


def optional_filter(message: qdrant.Filter) -> edge.Filter | None:
    """As `edge_filter`; None for a filter without conditions."""
    return edge_filter(message) if message.ByteSize() else None


def both(first: edge.Filter | None, *conditions: edge.ConditionType) -> edge.Filter:
    """The conjunction of `first`, unless it is None, and all `conditions`."""
    return edge.Filter(must=[*([] if first is None else [first]), *conditions])


def _conditions(messages: Iterable[qdrant.Condition]) -> list[edge.ConditionType] | None:
    return [_condition(message) for message in messages] or None


def _min_should(message: qdrant.MinShould) -> edge.MinShould:
    return edge.MinShould(_conditions(message.conditions) or [], message.min_count)


def _condition(message: qdrant.Condition) -> edge.ConditionType:
    kind = message.WhichOneof("condition_one_of")
    match kind:
        case "field":
            return _field_condition(message.field)
        case "has_id":
            return edge.HasIdCondition({edge_id(point) for point in message.has_id.has_id})
        case "filter":
            return edge_filter(message.filter)
        case "nested":
            return edge.NestedCondition(message.nested.key, edge_filter(message.nested.filter))
        case "is_empty":
            return edge.IsEmptyCondition(message.is_empty.key)
        case "is_null":
            return edge.IsNullCondition(message.is_null.key)
    raise Unsupported(f"the filter condition {kind}")


def _field_condition(message: qdrant.FieldCondition) -> edge.FieldCondition:
    if message.HasField("match"):
        return edge.FieldCondition(message.key, match=_match(message.key, message.match))
    if message.HasField("range"):
        return edge.FieldCondition(message.key, range=edge.RangeFloat(**_limits(message.range)))
    if message.HasField("datetime_range"):
        limits = {name: _rfc3339(time) for name, time in _limits(message.datetime_range).items()}
        return edge.FieldCondition(message.key, range=edge.RangeDateTime(**limits))
    if message.HasField("values_count"):
        return edge.FieldCondition(
            message.key, values_count=edge.ValuesCount(**_limits(message.values_count))
        )
    if message.HasField("is_empty"):
        return edge.FieldCondition(message.key, is_empty=message.is_empty)
    if message.HasField("is_null"):
        return edge.FieldCondition(message.key, is_null=message.is_null)
    raise Unsupported(
        f"the condition on {message.key!r} (supported: match, range, values_count, is_empty and is_null)"
    )


class _Range(Protocol[_Limit_co]):
    """A protobuf message with up to four optional limits."""

    @property
    def lt(self) -> _Limit_co: ...
    @property
    def gt(self) -> _Limit_co: ...
    @property
    def lte(self) -> _Limit_co: ...
    @property
    def gte(self) -> _Limit_co: ...
    def HasField(self, field_name: Literal["lt", "gt", "lte", "gte"]) -> bool: ...  # noqa: N802


def _limits(message: _Range[_Limit_co]) -> dict[str, _Limit_co]:
    """The limits that are set, by field name."""
    return {name: getattr(message, name) for name in _LIMITS if message.HasField(name)}


def _rfc3339(time: Timestamp) -> str:
    return time.ToJsonString()


def _match(key: str, message: qdrant.Match) -> edge.MatchType:
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
                f"the filter matches {key!r} against a bool, which Qdrant Edge never matches; "
                "store the integer 0 or 1 and match that instead",
                field="filter",
            )
    raise Unsupported(f"the match {kind} on {key!r}")
