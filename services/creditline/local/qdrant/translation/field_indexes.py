"""Translates requests for payload indexes to Qdrant Edge, and Edge's information on them to Qdrant."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import qdrant_edge as edge

from creditline.errors import InvalidInput
from creditline.local.qdrant.translation.settings import edge_memory, grpc_memory
from creditline.local.qdrant.translation.unsupported import Unsupported
from creditline.qdrant_messages import qdrant

_Params: TypeAlias = (
    qdrant.KeywordIndexParams
    | qdrant.IntegerIndexParams
    | qdrant.FloatIndexParams
    | qdrant.DatetimeIndexParams
)


@dataclass(frozen=True)
class _Kind:
    """One type of payload index."""

    edge_type: edge.PayloadSchemaType
    """Edge's type."""
    qdrant_type: qdrant.PayloadSchemaType.ValueType
    """Qdrant's type."""
    params_field: str
    """Name of the field of Qdrant's messages that holds the parameters."""
    edge_params: Callable[..., edge.PayloadSchemaParams]
    """Edge's class of the parameters; its arguments have the names of Qdrant's fields."""


# No bool index: Qdrant Edge never matches a bool.
_KINDS = {
    qdrant.FieldType.FieldTypeKeyword: _Kind(
        edge.PayloadSchemaType.Keyword,
        qdrant.PayloadSchemaType.Keyword,
        "keyword_index_params",
        edge.KeywordIndexParams,
    ),
    qdrant.FieldType.FieldTypeInteger: _Kind(
        edge.PayloadSchemaType.Integer,
        qdrant.PayloadSchemaType.Integer,
        "integer_index_params",
        edge.IntegerIndexParams,
    ),
    qdrant.FieldType.FieldTypeFloat: _Kind(
        edge.PayloadSchemaType.Float,
        qdrant.PayloadSchemaType.Float,
        "float_index_params",
        edge.FloatIndexParams,
    ),
    qdrant.FieldType.FieldTypeDatetime: _Kind(
        edge.PayloadSchemaType.Datetime,
        qdrant.PayloadSchemaType.Datetime,
        "datetime_index_params",
        edge.DatetimeIndexParams,
    ),
}
_KIND_OF_EDGE_TYPE = {kind.edge_type: kind for kind in _KINDS.values()}


def field_index_creation(request: qdrant.CreateFieldIndexCollection) -> edge.UpdateOperation:
    """The update that creates the index.

    Raises:
        Unsupported: The type of index is not supported.
        InvalidInput: The parameters belong to another type of index.
    """
    kind = _KINDS.get(request.field_type)
    if kind is None:
        name = qdrant.FieldType.Name(request.field_type)
        raise Unsupported(
            f"an index of type {name} on {request.field_name!r} "
            "(supported: keyword, integer, float and datetime)"
        )
    return edge.UpdateOperation.create_field_index(request.field_name, _edge_schema(request, kind))


def _edge_schema(request: qdrant.CreateFieldIndexCollection, kind: _Kind) -> edge.PayloadSchemaParams:
    given = request.field_index_params.WhichOneof("index_params")
    if given not in (None, kind.params_field):
        raise InvalidInput(
            f"{given} do not fit an index of type {qdrant.FieldType.Name(request.field_type)}; "
            f"use {kind.params_field}",
            field="field_index_params",
        )
    params: _Params = getattr(request.field_index_params, kind.params_field)
    values: dict[str, object] = {
        field.name: _edge_value(params, field.name, value) for field, value in params.ListFields()
    }
    if not values.keys() & {"memory", "on_disk"}:
        # Memory-mapped: an optimized shard then opens in a third of the time.
        values["memory"] = edge.Memory.Cached
    return kind.edge_params(**values)


def _edge_value(params: _Params, name: str, value: object) -> object:
    match name:
        case "memory":
            return edge_memory(params)
        case "prefix":
            return True  # a message without fields: its presence is the value
    return value


def schema_info(index: edge.PayloadIndexInfo) -> qdrant.PayloadSchemaInfo:
    """Information on one index as Qdrant returns it."""
    kind = _KIND_OF_EDGE_TYPE[index.data_type]
    info = qdrant.PayloadSchemaInfo(data_type=kind.qdrant_type, points=index.points)
    # Edge returns None for a parameter that was not given, and no parameters if none was.
    given = {name: getattr(index.params, name, None) for name in _parameters(info, kind)}
    if any(value is not None for value in given.values()):
        _fill_params(getattr(info.params, kind.params_field), given)
    return info


def _parameters(info: qdrant.PayloadSchemaInfo, kind: _Kind) -> list[str]:
    """Names of the parameters of this type of index; Edge uses the same names."""
    return [field.name for field in getattr(info.params, kind.params_field).DESCRIPTOR.fields]


def _fill_params(params: _Params, given: Mapping[str, object]) -> None:
    params.SetInParent()
    for name, value in given.items():
        if isinstance(value, edge.Memory):
            params.memory = grpc_memory(value)
        elif name == "prefix" and isinstance(params, qdrant.KeywordIndexParams):
            if value:
                params.prefix.SetInParent()
        elif value is not None:
            setattr(params, name, value)
