"""Query messages to Qdrant: the nearest works of a vector."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from creditline.errors import InvalidInput
from creditline.index.points import dense_vector
from creditline.qdrant_messages import qdrant


def nearest(
    collection: str,
    vector: npt.NDArray[np.floating],
    limit: int,
    condition: qdrant.Filter,
    params: qdrant.SearchParams,
    fields: tuple[str, ...],
) -> qdrant.QueryPoints:
    """Query for the points nearest to a vector.

    Args:
        collection: Name of the collection.
        vector: (D,) float, the query.
        limit: Number of points to return.
        condition: Filter that the points must pass.
        params: Search effort.
        fields: Payload fields to return.

    Raises:
        InvalidInput: The vector is not one row of finite numbers.
    """
    if vector.ndim != 1 or not np.isfinite(vector).all():
        raise InvalidInput(
            f"the query vector of shape {vector.shape} is not one row of finite numbers", field="vector"
        )
    query = qdrant.VectorInput(dense=dense_vector(vector.astype(np.float32)))
    return qdrant.QueryPoints(
        collection_name=collection,
        query=qdrant.Query(nearest=query),
        filter=condition,
        params=params,
        limit=limit,
        with_payload=payload_fields(fields),
    )


def best_of(request: qdrant.QueryPoints, limit: int, fields: tuple[str, ...]) -> qdrant.QueryPoints:
    """Query for only the best `limit` points of `request`, with the given payload fields.

    Oversampling is raised so that both queries rescore the same number of points by their full vectors; the
    best points of both are then the same.
    """
    best = qdrant.QueryPoints()
    best.CopyFrom(request)
    if best.params.HasField("quantization"):
        best.params.quantization.oversampling *= request.limit / limit
    best.limit = limit
    best.with_payload.CopyFrom(payload_fields(fields))
    return best


@lru_cache(maxsize=8)
def payload_fields(names: tuple[str, ...]) -> qdrant.WithPayloadSelector:
    """Selector of the named payload fields; no names select no payload."""
    if not names:
        return qdrant.WithPayloadSelector(enable=False)
    return qdrant.WithPayloadSelector(include=qdrant.PayloadIncludeSelector(fields=names))
