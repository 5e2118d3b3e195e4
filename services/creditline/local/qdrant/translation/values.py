"""Converts point ids and payload values between Qdrant's protobuf messages and Python values."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import TypeAlias

from creditline.errors import InvalidInput
from creditline.qdrant_messages import qdrant

PointId: TypeAlias = int | uuid.UUID
PayloadValue: TypeAlias = "bool | int | float | str | list[PayloadValue] | dict[str, PayloadValue] | None"
Payload: TypeAlias = dict[str, PayloadValue]


def edge_id(point: qdrant.PointId) -> PointId:
    """The id as Edge takes it. Raises InvalidInput for a string that is not a UUID."""
    text = point.uuid
    if not text and point.WhichOneof("point_id_options") != "uuid":
        return point.num
    try:
        return uuid.UUID(text)
    except ValueError:
        raise InvalidInput(
            f"point id {text!r} is neither an unsigned integer nor a UUID", field="id"
        ) from None


def grpc_id(point: PointId) -> qdrant.PointId:
    """The id as a protobuf message."""
    return qdrant.PointId(num=point) if isinstance(point, int) else qdrant.PointId(uuid=str(point))


def id_order(point: PointId) -> tuple[bool, int]:
    """Sort key in Qdrant's order: numbers first, then UUIDs."""
    return (False, point) if isinstance(point, int) else (True, point.int)


def python_payload(payload: Mapping[str, qdrant.Value]) -> Payload:
    """The payload as Python values."""
    # Most values are strings: reading `string_value` first takes a third of the time of WhichOneof, and
    # looking a value up is faster than iterating over the pairs of a protobuf map.
    return {name: payload[name].string_value or _python_value(payload[name]) for name in payload}


def _python_value(value: qdrant.Value) -> PayloadValue:
    kind = value.WhichOneof("kind")
    if kind is None or kind == "null_value":
        return None
    if kind == "struct_value":
        return python_payload(value.struct_value.fields)
    if kind == "list_value":
        return [_python_value(item) for item in value.list_value.values]
    return getattr(value, kind)


def fill_payload(message: Mapping[str, qdrant.Value], payload: Mapping[str, PayloadValue]) -> None:
    """Write `payload` into a protobuf map.

    Values are written in place, because copying submessages takes three times as long. Raises TypeError for a
    value that a payload cannot hold.
    """
    for name, value in payload.items():
        _fill_value(message[name], value)


def _fill_value(message: qdrant.Value, value: PayloadValue) -> None:
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
            fill_payload(message.struct_value.fields, value)
        case _:
            raise TypeError(f"a payload cannot hold {type(value).__name__}")
