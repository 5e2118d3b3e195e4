"""What is asked of Qdrant: the works nearest to a vector."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt
from qdrant_client import grpc as qdrant

from creditline.errors import InvalidInput
from creditline.index.points import dense_vector


def nearest(
    collection: str,
    vector: npt.NDArray[np.floating],
    limit: int,
    condition: qdrant.Filter,
    params: qdrant.SearchParams,
    fields: tuple[str, ...],
) -> qdrant.QueryPoints:
    """The `limit` points nearest to `vector` ((width,) float), with these fields of their payload.

    Raises InvalidInput for a vector that is not one row of finite numbers.
    """
    if vector.ndim != 1 or not np.isfinite(vector).all():
        raise InvalidInput(
            f"the query vector of shape {vector.shape} is not one row of finite numbers", field="vector"
        )
    wanted = qdrant.VectorInput(dense=dense_vector(vector.astype(np.float32)))
    return qdrant.QueryPoints(
        collection_name=collection,
        query=qdrant.Query(nearest=wanted),
        filter=condition,
        params=params,
        limit=limit,
        with_payload=payload_fields(fields),
    )


def best_of(request: qdrant.QueryPoints, limit: int, fields: tuple[str, ...]) -> qdrant.QueryPoints:
    """The best `limit` of the points that `request` finds, with these fields of their payload.

    It scores as many points by their whole vectors: the best of both are then the same.
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
    """These fields only; no payload at all for no names."""
    if not names:
        return qdrant.WithPayloadSelector(enable=False)
    return qdrant.WithPayloadSelector(include=qdrant.PayloadIncludeSelector(fields=names))
