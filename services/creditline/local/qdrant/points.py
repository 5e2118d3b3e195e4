"""Points: Qdrant's messages as Qdrant Edge's points, and Edge's results as messages."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import qdrant_edge as edge
from qdrant_client import grpc as qdrant

from creditline.errors import InvalidInput
from creditline.local.qdrant.refusals import NotServed
from creditline.local.qdrant.values import PointId, edge_id, fill_payload, python_payload


def edge_point(point: qdrant.PointStruct, width: int) -> tuple[PointId, edge.Point]:
    """A point to store, with its id.

    Raises InvalidInput for a vector that is not finite, which Edge would store silently, and for one of
    another width, which Edge would write to its log before it refuses it.
    """
    vector = _stored_numbers(point)
    if len(vector) != width:
        raise InvalidInput(
            f"Vector dimension error: expected dim: {width}, got {len(vector)}", field="vector"
        )
    identity = edge_id(point.id)
    return identity, edge.Point(identity, vector, python_payload(point.payload))


def _stored_numbers(point: qdrant.PointStruct) -> list[float]:
    """From the newer form, `dense`, or the older one, `data`."""
    if point.vectors.WhichOneof("vectors_options") != "vector":
        raise NotServed("named vectors, or points without a vector,")
    vector = point.vectors.vector
    if vector.WhichOneof("vector") == "dense":
        return finite(vector.dense.data[:])
    if vector.data:
        return finite(vector.data[:])
    raise NotServed("vectors that are not dense")


def finite(values: list[float]) -> list[float]:
    """The numbers themselves. Raises InvalidInput for NaN and infinities."""
    # The sum is finite only when every part is, and costs a tenth of asking each.
    if not math.isfinite(sum(values)):
        raise InvalidInput("the vector holds a number that is not finite (NaN or infinite)", field="vector")
    return values


def fill_scored(messages: Any, points: Iterable[Any]) -> None:
    """Append Edge's ScoredPoints to a repeated field."""
    for point in points:
        message = messages.add()
        message.score = point.score
        message.version = point.version
        fill_record(message, point)


def fill_record(message: qdrant.ScoredPoint | qdrant.RetrievedPoint, point: Any) -> None:
    """Id, payload and vector of one of Edge's Records or ScoredPoints."""
    identity = point.id
    if isinstance(identity, int):
        message.id.num = identity
    else:
        message.id.uuid = str(identity)
    fill_payload(message.payload, point.payload)
    if point.vector is not None:
        # Both forms, as a Qdrant server sends them: older clients read `data`, newer ones `dense`.
        message.vectors.vector.data.extend(point.vector)
        message.vectors.vector.dense.data.extend(point.vector)
