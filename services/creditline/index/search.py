"""The asynchronous side of the index: the nearest works of a query, for the gateway."""

from __future__ import annotations

from types import TracebackType
from typing import Self

import numpy as np
import numpy.typing as npt
from qdrant_client import AsyncQdrantClient
from qdrant_client import grpc as qdrant

from creditline.errors import DeadlineExceeded, InvalidInput
from creditline.index.failures import QdrantAddress, explained
from creditline.index.plan import IndexPlan
from creditline.index.points import HIT_FIELDS, Hit, listed_works_filter, to_hit
from creditline.index.works import CHANNEL_OPTIONS

_HEALTH_SECONDS = 2.0


class WorkSearch:
    """Searches in collections of works. Safe for any number of concurrent calls on one event loop.

    Requests go through qdrant-client's own gRPC stubs: conversion from and to its pydantic models costs
    more than the search itself, and its timeouts are whole seconds.
    """

    def __init__(self, client: AsyncQdrantClient, address: QdrantAddress, plan: IndexPlan) -> None:
        self._client = client
        self._address = address
        self._plan = plan

    @classmethod
    def connect(
        cls, host: str = "127.0.0.1", grpc_port: int = 6334, *, plan: IndexPlan | None = None
    ) -> Self:
        """A client of the Qdrant at `host:grpc_port`; nothing is sent until the first call."""
        client = AsyncQdrantClient(
            host=host,
            grpc_port=grpc_port,
            prefer_grpc=True,
            check_compatibility=False,
            pool_size=1,
            grpc_options=dict(CHANNEL_OPTIONS),
        )
        return cls(client, QdrantAddress(host, grpc_port), plan or IndexPlan())

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connection."""
        await self._client.close()

    async def search(
        self,
        collection: str,
        vector: npt.NDArray[np.floating],
        limit: int,
        *,
        deadline_seconds: float,
        contributor: str | None = None,
        exact: bool = False,
    ) -> list[Hit]:
        """The `limit` works nearest to `vector` ((width,) float), best first; never a withdrawn one.

        `exact` scans all works instead of the graph. Raises InvalidInput for a bad vector or limit,
        DeadlineExceeded, NotReady when the collection is missing, Unavailable when Qdrant is down.
        """
        if limit < 1:
            raise InvalidInput(f"{limit} works cannot be searched for; ask for 1 or more", field="limit")
        if deadline_seconds <= 0:
            raise DeadlineExceeded("the deadline had passed before the index was asked")
        if vector.ndim != 1 or not np.isfinite(vector).all():
            raise InvalidInput(
                f"the query vector of shape {vector.shape} is not one row of finite numbers", field="vector"
            )
        request = self._request(collection, vector, limit, contributor, exact)
        with explained(self._address, collection):
            answer = await self._client.grpc_points.Query(request, timeout=deadline_seconds)
        return [to_hit(point) for point in answer.result]

    async def count(self, collection: str, *, deadline_seconds: float = _HEALTH_SECONDS) -> int:
        """How many works the collection holds: tells readiness. Raises NotReady and Unavailable."""
        request = qdrant.CountPoints(collection_name=collection, exact=True)
        with explained(self._address, collection):
            answer = await self._client.grpc_points.Count(request, timeout=deadline_seconds)
        return answer.result.count

    def _request(
        self,
        collection: str,
        vector: npt.NDArray[np.floating],
        limit: int,
        contributor: str | None,
        exact: bool,
    ) -> qdrant.QueryPoints:
        nearest = qdrant.VectorInput(dense=qdrant.DenseVector(data=vector.tolist()))
        return qdrant.QueryPoints(
            collection_name=collection,
            query=qdrant.Query(nearest=nearest),
            filter=listed_works_filter(contributor),
            params=self._plan.effort(limit, narrow=contributor is not None, exact=exact),
            limit=limit,
            with_payload=qdrant.WithPayloadSelector(
                include=qdrant.PayloadIncludeSelector(fields=list(HIT_FIELDS))
            ),
        )
