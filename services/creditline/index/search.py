"""The asynchronous side of the index: the nearest works of a query, for the gateway."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Literal, Self

import numpy as np
import numpy.typing as npt
from qdrant_client import AsyncQdrantClient
from qdrant_client import grpc as qdrant

from creditline.errors import DeadlineExceeded, InvalidInput
from creditline.index.failures import QdrantAddress, translate_errors
from creditline.index.filters import WorkFilter
from creditline.index.plan import IndexPlan
from creditline.index.points import HIT_FIELDS, Hit, bare_hit, point_id, to_hit
from creditline.index.queries import best_of, nearest, payload_fields
from creditline.index.works import CHANNEL_OPTIONS, stored_vector

MOST_HITS = 10_000
ALL_WORKS = WorkFilter()
_HEALTH_SECONDS = 2.0
_ALIASES_SECONDS = 0.25
# Hits of one group come together: so many more works are searched for at first, and then so many times more.
_WORKS_PER_GROUP = 3
_GROWTH = 4
_NOTHING: Mapping[str, qdrant.Value] = {}
GroupField = Literal["contributor", "duplicate_group"]


@dataclass(frozen=True)
class BuildState:
    """What Qdrant reports of a collection of works."""

    dimension: int
    """Dimension of the vectors."""
    works: int
    """Number of works, withdrawn ones included. A server's number is approximate while it optimises."""


class WorkSearch:
    """Searches in collections of works. Safe for any number of concurrent calls on one event loop.

    Requests go through qdrant-client's own gRPC stubs: conversion from and to its pydantic models costs
    more than the search itself, and its timeouts are whole seconds.
    """

    def __init__(self, client: AsyncQdrantClient, address: QdrantAddress) -> None:
        self._client = client
        self._address = address
        self._asking = asyncio.Lock()
        # By build: its plan never changes.
        self._plans: dict[str, IndexPlan] = {}
        # What aliases mean, and until when (by the monotonic clock) that is believed.
        self._aliases: tuple[Mapping[str, str], float] = ({}, 0.0)

    @classmethod
    def connect(cls, host: str = "127.0.0.1", grpc_port: int = 6334) -> Self:
        """A client of the Qdrant at `host:grpc_port`; nothing is sent until the first call."""
        client = AsyncQdrantClient(
            host=host,
            grpc_port=grpc_port,
            prefer_grpc=True,
            check_compatibility=False,
            pool_size=1,
            grpc_options=dict(CHANNEL_OPTIONS),
        )
        return cls(client, QdrantAddress(host, grpc_port))

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
        where: WorkFilter = ALL_WORKS,
        exact: bool = False,
        detailed: int | None = None,
    ) -> list[Hit]:
        """The `limit` works nearest to `vector` ((width,) float), best first; never a withdrawn one.

        `exact` scans all works instead of the graph. `detailed`: only so many of the hits, the best, come
        with their payload; of long lists that takes most of the time. Raises InvalidInput for a bad vector
        or limit, DeadlineExceeded, NotReady when the collection is missing, Unavailable when Qdrant is down.
        """
        (found,) = await self.search_many(
            collection,
            [vector],
            limit,
            deadline_seconds=deadline_seconds,
            where=where,
            exact=exact,
            detailed=detailed,
        )
        return found

    async def search_many(
        self,
        collection: str,
        vectors: Sequence[npt.NDArray[np.floating]],
        limit: int,
        *,
        deadline_seconds: float,
        where: WorkFilter = ALL_WORKS,
        exact: bool = False,
        detailed: int | None = None,
    ) -> list[list[Hit]]:
        """`search` for several vectors in one call, answers in their order."""
        if not 1 <= limit <= MOST_HITS:
            raise InvalidInput(
                f"{limit} works cannot be searched for; ask for 1 to {MOST_HITS:,}", field="limit"
            )
        if deadline_seconds <= 0:
            raise DeadlineExceeded("the deadline had passed before the index was asked")
        ends = time.monotonic() + deadline_seconds
        plan = await self._plan_of(collection, deadline_seconds)
        params = plan.effort(limit, narrow=where.narrows, exact=exact)
        condition, most = where.condition(), limit if detailed is None else min(detailed, limit)
        fields = HIT_FIELDS if most == limit else ()
        requests = [nearest(collection, vector, limit, condition, params, fields) for vector in vectors]
        if most < limit:
            return await self._detailed(collection, requests, most, ends)
        found = await self._asked(collection, requests, deadline_seconds)
        return [[to_hit(point, point.payload) for point in points] for points in found]

    async def _detailed(
        self, collection: str, requests: Sequence[qdrant.QueryPoints], most: int, ends: float
    ) -> list[list[Hit]]:
        """Hits of each request, which asks for no payload; the best `most` of them have theirs.

        Those are searched for once more in the same call: a second call for their payload would take longer
        than the search.
        """
        best = [best_of(request, most, HIT_FIELDS) for request in requests if most]
        both = await self._asked(collection, [*requests, *best], ends - time.monotonic())
        found = both[: len(requests)]
        payloads: dict[str, Mapping[str, qdrant.Value]] = {
            point.id.uuid: point.payload for points in both[len(requests) :] for point in points
        }
        wanted = [point.id for points in found for point in points[:most]]
        missing = [identity for identity in wanted if identity.uuid not in payloads]
        if missing:
            payloads |= await self._payloads(collection, missing, ends - time.monotonic())
        return [_joined(points, payloads, most) for points in found]

    async def search_groups(
        self,
        collection: str,
        vector: npt.NDArray[np.floating],
        groups: int,
        *,
        by: GroupField,
        per_group: int = 1,
        deadline_seconds: float,
        where: WorkFilter = ALL_WORKS,
    ) -> list[list[Hit]]:
        """The best `groups` contributors or duplicate groups, each by its best `per_group` works.

        Searches for more works until there are enough groups, or no more works.
        """
        ends, limit = time.monotonic() + deadline_seconds, groups * per_group * _WORKS_PER_GROUP
        while True:
            limit = min(limit, MOST_HITS)
            hits = await self.search(
                collection, vector, limit, deadline_seconds=ends - time.monotonic(), where=where
            )
            found = grouped(hits, by, groups, per_group)
            enough = len(found) == groups and all(len(members) == per_group for members in found)
            if enough or len(hits) < limit or limit == MOST_HITS:
                return found
            limit *= _GROWTH

    async def above(
        self,
        collection: str,
        vector: npt.NDArray[np.floating],
        threshold: float,
        *,
        deadline_seconds: float,
        where: WorkFilter = ALL_WORKS,
    ) -> list[Hit]:
        """All works with a cosine of `threshold` or more, best first, up to MOST_HITS of them."""
        plan = await self._plan_of(collection, deadline_seconds)
        effort = plan.effort(MOST_HITS, narrow=where.narrows, exact=False)
        request = nearest(collection, vector, MOST_HITS, where.condition(), effort, HIT_FIELDS)
        request.score_threshold = threshold
        (points,) = await self._asked(collection, [request], deadline_seconds)
        return [to_hit(point, point.payload) for point in points]

    async def build_of(self, alias: str, *, deadline_seconds: float = _HEALTH_SECONDS) -> str:
        """The collection that an alias means, as of a quarter of a second ago; the name itself if it is none.

        Who asks more than once for one answer asks the build, so that no answer is of two. Raises
        Unavailable when Qdrant is down.
        """
        if self._must_ask(alias):
            # Searches that wait for the same answer ask once.
            async with self._asking:
                if self._must_ask(alias):
                    await self._ask_for_aliases(alias, deadline_seconds)
        return self._aliases[0].get(alias, alias)

    def _must_ask(self, alias: str) -> bool:
        known, until = self._aliases
        return time.monotonic() > until or (alias not in known and alias not in self._plans)

    async def _ask_for_aliases(self, alias: str, deadline_seconds: float) -> None:
        with translate_errors(self._address, alias):
            answer = await self._client.grpc_collections.ListAliases(
                qdrant.ListAliasesRequest(), timeout=deadline_seconds
            )
        known = {found.alias_name: found.collection_name for found in answer.aliases}
        self._aliases = known, time.monotonic() + _ALIASES_SECONDS

    async def count(self, collection: str, *, deadline_seconds: float = _HEALTH_SECONDS) -> int:
        """How many works the collection holds: tells readiness. Raises NotReady and Unavailable."""
        request = qdrant.CountPoints(collection_name=collection, exact=True)
        with translate_errors(self._address, collection):
            answer = await self._client.grpc_points.Count(request, timeout=deadline_seconds)
        return answer.result.count

    async def state_of(self, build: str, *, deadline_seconds: float = _HEALTH_SECONDS) -> BuildState:
        """The collection's dimension and number of works. Raises NotReady and Unavailable."""
        info = await self._info(build, deadline_seconds)
        return BuildState(info.config.params.vectors_config.params.size, info.points_count)

    async def vectors(
        self, collection: str, work_ids: Sequence[str], *, deadline_seconds: float = _HEALTH_SECONDS
    ) -> npt.NDArray[np.float32]:
        """The stored vectors of those of `work_ids` that are there, in any order.

        Returns:
            (found, width) float32; (0, 0) when none is there.

        Raises:
            NotReady: there is no such collection.
            Unavailable: Qdrant does not answer.
        """
        request = qdrant.GetPoints(
            collection_name=collection,
            ids=[qdrant.PointId(uuid=point_id(work_id)) for work_id in work_ids],
            with_payload=qdrant.WithPayloadSelector(enable=False),
            with_vectors=qdrant.WithVectorsSelector(enable=True),
        )
        with translate_errors(self._address, collection):
            answer = await self._client.grpc_points.Get(request, timeout=deadline_seconds)
        rows = [stored_vector(point) for point in answer.result]
        return np.array(rows, dtype=np.float32).reshape(len(rows), len(rows[0]) if rows else 0)

    async def _plan_of(self, collection: str, deadline_seconds: float) -> IndexPlan:
        """The plan of a collection or of the build that an alias means."""
        if collection in self._plans:
            return self._plans[collection]
        build = await self.build_of(collection, deadline_seconds=deadline_seconds)
        if build not in self._plans:
            async with self._asking:
                if build not in self._plans:
                    self._plans[build] = await self._ask_for_plan(build, deadline_seconds)
        return self._plans[build]

    async def _ask_for_plan(self, build: str, deadline_seconds: float) -> IndexPlan:
        return IndexPlan.of_collection((await self._info(build, deadline_seconds)).config)

    async def _info(self, build: str, deadline_seconds: float) -> qdrant.CollectionInfo:
        request = qdrant.GetCollectionInfoRequest(collection_name=build)
        with translate_errors(self._address, build):
            answer = await self._client.grpc_collections.Get(request, timeout=deadline_seconds)
        return answer.result

    async def _asked(
        self, collection: str, requests: Sequence[qdrant.QueryPoints], deadline_seconds: float
    ) -> list[Sequence[qdrant.ScoredPoint]]:
        """The points of every request; a batch goes as one call."""
        if not requests:
            return []
        with translate_errors(self._address, collection):
            if len(requests) == 1:
                answer = await self._client.grpc_points.Query(requests[0], timeout=deadline_seconds)
                return [answer.result]
            batch = qdrant.QueryBatchPoints(collection_name=collection, query_points=requests)
            answers = await self._client.grpc_points.QueryBatch(batch, timeout=deadline_seconds)
            return [each.result for each in answers.result]

    async def _payloads(
        self, collection: str, ids: Sequence[qdrant.PointId], deadline_seconds: float
    ) -> dict[str, Mapping[str, qdrant.Value]]:
        """The payloads of points, by id."""
        request = qdrant.GetPoints(
            collection_name=collection, ids=ids, with_payload=payload_fields(HIT_FIELDS)
        )
        with translate_errors(self._address, collection):
            answer = await self._client.grpc_points.Get(request, timeout=max(deadline_seconds, 0.0))
        return {point.id.uuid: point.payload for point in answer.result}


def _joined(
    points: Sequence[qdrant.ScoredPoint], payloads: Mapping[str, Mapping[str, qdrant.Value]], most: int
) -> list[Hit]:
    """Hits of which the first `most` have their payload."""
    best = [to_hit(point, payloads.get(point.id.uuid, _NOTHING)) for point in points[:most]]
    return best + [bare_hit(point) for point in points[most:]]


def grouped(hits: Sequence[Hit], by: GroupField, groups: int, per_group: int) -> list[list[Hit]]:
    """Hits, best first, as the first `groups` groups of up to `per_group` works each."""
    members: dict[str, list[Hit]] = {}
    for hit in hits:
        key = getattr(hit, by)
        if key not in members and len(members) == groups:
            continue
        if len(members.setdefault(key, [])) < per_group:
            members[key].append(hit)
    return list(members.values())
