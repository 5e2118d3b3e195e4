"""Converts points between Qdrant's protobuf messages and Qdrant Edge's points."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, TypeAlias, cast

import numpy as np
import qdrant_edge as edge

from creditline.errors import InvalidInput
from creditline.local.qdrant.translation.edge_types import Record, ScoredPoint
from creditline.local.qdrant.translation.unsupported import Unsupported
from creditline.local.qdrant.translation.values import PointId, edge_id, fill_payload, python_payload
from creditline.qdrant_messages import qdrant

if TYPE_CHECKING:
    from google.protobuf.internal.containers import RepeatedCompositeFieldContainer

ScoredPointMessages: TypeAlias = "RepeatedCompositeFieldContainer[qdrant.ScoredPoint]"

_STORED = np.dtype("<f4")


def edge_points(points: Iterable[qdrant.PointStruct], dimension: int) -> list[tuple[PointId, edge.Point]]:
    """Points to store, each with its id.

    Args:
        points: the points of an upsert.
        dimension: the collection's vector dimension.

    Raises:
        InvalidInput: A vector is not finite, which Edge would store silently, or has another dimension, which
            Edge would write to its log before rejecting it.
        Unsupported: A point has named, sparse or several vectors, or none.
    """
    made, vectors = [], []
    for point in points:
        vector = _stored_vector(point, dimension)
        identity = edge_id(point.id)
        # Edge takes any sequence of numbers; its stubs allow lists only.
        listed = cast("list[float]", vector)
        made.append((identity, edge.Point(identity, listed, python_payload(point.payload))))
        vectors.append(vector)
    if not np.isfinite(np.frombuffer(b"".join(vectors), _STORED)).all():
        raise _not_finite()
    return made


def _stored_vector(point: qdrant.PointStruct, dimension: int) -> memoryview[float]:
    """A point's vector, (dimension,) float32, from the newer field `dense` or the older one, `data`.

    The result is a view of packed bytes: a list of numbers would take as long to build as the rest of a point
    without payload.
    """
    if point.vectors.WhichOneof("vectors_options") != "vector":
        raise Unsupported("named vectors or points without a vector")
    vector = point.vectors.vector
    dense = vector.dense if vector.HasField("dense") else qdrant.DenseVector(data=vector.data)
    if vector.WhichOneof("vector") not in (None, "dense") or vector.HasField("indices") or not dense.data:
        raise Unsupported("vectors that are not dense")
    if len(dense.data) != dimension:
        raise InvalidInput(
            f"Vector dimension error: expected dim: {dimension}, got {len(dense.data)}", field="vector"
        )
    # Protobuf keeps packed numbers at the end of the message, after their tag and length.
    packed = memoryview(dense.SerializeToString())[-dimension * _STORED.itemsize :]
    return packed.cast("f")


def finite(values: list[float]) -> list[float]:
    """Return the numbers unchanged. Raises InvalidInput for NaN and infinities."""
    # The sum is finite only if every number is, and takes a tenth of the time of testing each.
    if not math.isfinite(sum(values)):
        raise _not_finite()
    return values


def _not_finite() -> InvalidInput:
    return InvalidInput("the vector holds a number that is not finite (NaN or an infinity)", field="vector")


def fill_scored(messages: ScoredPointMessages, points: Iterable[ScoredPoint]) -> None:
    """Append found points to a repeated field."""
    add = messages.add
    for point in points:
        message = add()
        message.score = point.score
        message.version = point.version
        fill_record(message, point)


def fill_with_records(
    messages: ScoredPointMessages, points: Iterable[ScoredPoint], records: Mapping[PointId, Record]
) -> None:
    """Append found points with the payload and vector of their records.

    A point without a record was deleted after the search and is left out.
    """
    for point in points:
        if point.id in records:
            message = messages.add(score=point.score, version=point.version)
            fill_record(message, records[point.id])


def fill_record(message: qdrant.ScoredPoint | qdrant.RetrievedPoint, point: Record) -> None:
    """Write a point's id, payload and vector into a message."""
    identity = point.id
    if isinstance(identity, int):
        message.id.num = identity
    else:
        message.id.uuid = str(identity)
    # In long lists most points have neither.
    payload, vector = point.payload, point.vector
    if payload:
        fill_payload(message.payload, payload)
    if vector is not None:
        # Both fields, as a Qdrant server sends them: older clients read `data`, newer ones `dense`.
        message.vectors.vector.data.extend(vector)
        message.vectors.vector.dense.data.extend(vector)
