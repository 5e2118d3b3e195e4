"""Asynchronous client of the index: searches for the nearest works of a query, used by the gateway."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Literal, Self

import numpy as np
import numpy.typing as npt

from creditline.corpus.directions import unit_rows
from creditline.corpus.identity import key_of, keyed_holders, named_holders
from creditline.credentials.qdrant import NO_CREDENTIALS, QdrantCredentials
from creditline.errors import DeadlineExceeded, InvalidInput
from creditline.index.connection.channel import AsyncQdrantConnection
from creditline.index.connection.failures import QdrantAddress, translate_errors
from creditline.index.filters import NAMES, WorkFilter, trained_on_by
from creditline.index.plan import IndexPlan
from creditline.index.points import (
    HIT_PAYLOAD_FIELDS,
    Hit,
    hit_without_payload,
    point_id,
    rights_holders_of,
    to_hit,
)
from creditline.index.queries import best_of, nearest, payload_fields
from creditline.index.works import stored_vector
from creditline.qdrant_messages import qdrant

MAX_HITS = 10_000
ALL_WORKS = WorkFilter()
_HEALTH_SECONDS = 2.0
_SCROLL_PAGE = 1_000
_ALIASES_SECONDS = 0.25
# Initial over-fetch per group, since hits of one group lie close together, and its growth per retry.
_OVERFETCH = 3
_OVERFETCH_GROWTH = 4
_NO_PAYLOAD: Mapping[str, qdrant.Value] = {}
GroupField = Literal["contributor", "duplicate_group"]


@dataclass(frozen=True)
class BuildState:
    """Dimension and size of a collection of works, as reported by Qdrant."""

    dimension: int
    """Dimension of the vectors."""
    works: int
    """Number of works, including withdrawn ones. A server's number is approximate while it optimises."""


@dataclass(frozen=True)
class _Layout:
    """What a search must know of a build."""

    plan: IndexPlan
    """Plan that the build was created with."""
    by_names_too: bool
    """Whether works may lack the keys of their people, because the build is older than the keys."""

    def condition(self, where: WorkFilter, *, withdrawn_too: bool = False) -> qdrant.Filter:
        """A filter as a condition on this build."""
        return where.condition(by_names_too=self.by_names_too, withdrawn_too=withdrawn_too)


@dataclass(frozen=True)
class AddedSample:
    """Works that were added to a release, with their vectors."""

    work_ids: list[str]
    """Ids of the works."""
    holders: list[tuple[tuple[str, float], ...]]
    """Keys of the people among whom their credit is divided, see `corpus.identity.keyed_holders`."""
    rows: list[npt.NDArray[np.float32]]
    """Their vectors, each (D,) float32."""
    names: dict[str, tuple[str, str]]
    """Names and ids of these people, by key."""

    def add(self, point: qdrant.RetrievedPoint) -> None:
        """Add one work as Qdrant returns it."""
        payload = point.payload
        name = payload["contributor"] if "contributor" in payload else payload["holders"]
        own_id = payload["contributor_id"].string_value if "contributor_id" in payload else ""
        self.work_ids.append(payload["work_id"].string_value)
        people = name.string_value, own_id, rights_holders_of(payload)
        self.holders.append(keyed_holders(*people))
        for holder in named_holders(*people):
            self.names.setdefault(holder.key, (holder.name, holder.id))
        self.rows.append(np.asarray(stored_vector(point), dtype=np.float32))

    @property
    def vectors(self) -> npt.NDArray[np.float32]:
        """(M, D) float32, L2-normalised; float16 storage moves their lengths a little."""
        return unit_rows(np.stack(self.rows))


class WorkSearch:
    """Client for searches in collections of works; safe for concurrent calls on one event loop.

    Requests use the generated gRPC stubs alone: converting from and to the pydantic models of qdrant-client
    costs more than the search itself, and its timeouts are whole seconds.
    """

    def __init__(self, connection: AsyncQdrantConnection, address: QdrantAddress) -> None:
        self._qdrant = connection
        self._address = address
        self._refresh_lock = asyncio.Lock()
        # By build; the layout of a build never changes.
        self._layouts: dict[str, _Layout] = {}
        # Targets of the aliases, and the monotonic time at which this cache expires.
        self._aliases: tuple[Mapping[str, str], float] = ({}, 0.0)

    @classmethod
    def connect(
        cls,
        host: str = "127.0.0.1",
        grpc_port: int = 6334,
        *,
        credentials: QdrantCredentials = NO_CREDENTIALS,
    ) -> Self:
        """Create a client of the Qdrant at `host:grpc_port`; nothing is sent before the first call.

        To be called on a running event loop.

        Args:
            host: Host name or IP address.
            grpc_port: Port of the gRPC API.
            credentials: API key and TLS.

        Raises:
            CreditlineError: A file of the credentials cannot be used.
        """
        address = QdrantAddress(host, grpc_port)
        return cls(AsyncQdrantConnection(address, credentials), address)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connection."""
        await self._qdrant.close()

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
        """The nearest works of a query vector, best first, without withdrawn ones.

        Args:
            collection: Name of a collection or an alias.
            vector: (D,) float, the query.
            limit: Number of works to return, from 1 to `MAX_HITS`.
            deadline_seconds: Time limit of the call.
            where: Filter that the works must pass.
            exact: Scan all works instead of searching the graph.
            detailed: Number of hits, the best ones, that are returned with their payload; None: all. For long
                lists, reading the payload takes most of the time.

        Raises:
            InvalidInput: The vector or the limit is not valid.
            DeadlineExceeded: Qdrant did not answer in time.
            NotReady: The collection is missing.
            Unavailable: Qdrant cannot be reached.
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
        """Run `search` for several vectors in one call.

        Args:
            collection: Name of a collection or an alias.
            vectors: Queries, each (D,) float.
            limit: Number of works to return per query, from 1 to `MAX_HITS`.
            deadline_seconds: Time limit of the call.
            where: Filter that the works must pass.
            exact: Scan all works instead of searching the graph.
            detailed: Number of hits per query that are returned with their payload; None: all.

        Returns:
            The hits of each query, in the order of the queries.

        Raises:
            CreditlineError: The errors of `search`.
        """
        if not 1 <= limit <= MAX_HITS:
            raise InvalidInput(
                f"a search cannot return {limit} works; ask for 1 to {MAX_HITS:,}", field="limit"
            )
        if deadline_seconds <= 0:
            raise DeadlineExceeded(
                "the deadline had passed before the index was queried; allow more time for the request"
            )
        ends = time.monotonic() + deadline_seconds
        layout = await self._layout_of(collection, deadline_seconds)
        params = layout.plan.effort(limit, narrow=where.narrows, exact=exact)
        condition, most = layout.condition(where), limit if detailed is None else min(detailed, limit)
        fields = HIT_PAYLOAD_FIELDS if most == limit else ()
        requests = [nearest(collection, vector, limit, condition, params, fields) for vector in vectors]
        if most < limit:
            return await self._search_partly_detailed(collection, requests, most, ends)
        found = await self._query(collection, requests, deadline_seconds)
        return [[to_hit(point, point.payload) for point in points] for points in found]

    async def _search_partly_detailed(
        self, collection: str, requests: Sequence[qdrant.QueryPoints], most: int, ends: float
    ) -> list[list[Hit]]:
        """Hits of each request, of which only the best `most` have their payload.

        The requests themselves select no payload. The best works are searched for once more in the same call,
        because a second call for their payload would take longer than the search.
        """
        best = [best_of(request, most, HIT_PAYLOAD_FIELDS) for request in requests if most]
        both = await self._query(collection, [*requests, *best], ends - time.monotonic())
        found = both[: len(requests)]
        payloads: dict[str, Mapping[str, qdrant.Value]] = {
            point.id.uuid: point.payload for points in both[len(requests) :] for point in points
        }
        best_ids = [point.id for points in found for point in points[:most]]
        missing = [identity for identity in best_ids if identity.uuid not in payloads]
        if missing:
            payloads |= await self._payloads(collection, missing, ends - time.monotonic())
        return [_merge_payloads(points, payloads, most) for points in found]

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
        """The best contributors or duplicate groups, each with its best works.

        The search is repeated with a larger limit until there are enough groups or no more works.

        Args:
            collection: Name of a collection or an alias.
            vector: (D,) float, the query.
            groups: Number of groups to return.
            by: Field that defines the groups.
            per_group: Maximum number of works per group.
            deadline_seconds: Time limit of all calls together.
            where: Filter that the works must pass.

        Returns:
            Hits by group, best group first, best work first within a group.

        Raises:
            CreditlineError: The errors of `search`.
        """
        ends, limit = time.monotonic() + deadline_seconds, groups * per_group * _OVERFETCH
        while True:
            limit = min(limit, MAX_HITS)
            hits = await self.search(
                collection, vector, limit, deadline_seconds=ends - time.monotonic(), where=where
            )
            found = grouped(hits, by, groups, per_group)
            enough = len(found) == groups and all(len(members) == per_group for members in found)
            if enough or len(hits) < limit or limit == MAX_HITS:
                return found
            limit *= _OVERFETCH_GROWTH

    async def above(
        self,
        collection: str,
        vector: npt.NDArray[np.floating],
        threshold: float,
        *,
        deadline_seconds: float,
        where: WorkFilter = ALL_WORKS,
    ) -> list[Hit]:
        """All works whose cosine similarity to a query reaches a threshold, best first.

        Args:
            collection: Name of a collection or an alias.
            vector: (D,) float, the query.
            threshold: Minimum cosine, inclusive.
            deadline_seconds: Time limit of the call.
            where: Filter that the works must pass.

        Returns:
            At most `MAX_HITS` hits.

        Raises:
            CreditlineError: The errors of `search`.
        """
        layout = await self._layout_of(collection, deadline_seconds)
        effort = layout.plan.effort(MAX_HITS, narrow=where.narrows, exact=False)
        request = nearest(collection, vector, MAX_HITS, layout.condition(where), effort, HIT_PAYLOAD_FIELDS)
        request.score_threshold = threshold
        (points,) = await self._query(collection, [request], deadline_seconds)
        return [to_hit(point, point.payload) for point in points]

    async def build_of(self, alias: str, *, deadline_seconds: float = _HEALTH_SECONDS) -> str:
        """The collection that an alias points to; the name itself when it is not an alias.

        The result is cached for a quarter of a second. A caller that needs several searches for one answer
        searches the build, so that the answer is not mixed from two builds.

        Raises:
            Unavailable: Qdrant cannot be reached.
        """
        if self._needs_refresh(alias):
            # Concurrent searches share one request.
            async with self._refresh_lock:
                if self._needs_refresh(alias):
                    await self._refresh_aliases(alias, deadline_seconds)
        return self._aliases[0].get(alias, alias)

    def _needs_refresh(self, alias: str) -> bool:
        known, until = self._aliases
        return time.monotonic() > until or (alias not in known and alias not in self._layouts)

    async def _refresh_aliases(self, alias: str, deadline_seconds: float) -> None:
        with translate_errors(self._address, alias):
            answer = await self._qdrant.collections.ListAliases(
                qdrant.ListAliasesRequest(), timeout=deadline_seconds
            )
        known = {found.alias_name: found.collection_name for found in answer.aliases}
        self._aliases = known, time.monotonic() + _ALIASES_SECONDS

    async def count(
        self,
        collection: str,
        *,
        where: WorkFilter | None = None,
        deadline_seconds: float = _HEALTH_SECONDS,
    ) -> int:
        """Exact number of works in the collection.

        Args:
            collection: Name of a collection or an alias.
            where: Count only works that pass this filter, withdrawn ones included; None: all works.
            deadline_seconds: Time limit of the call.

        Raises:
            NotReady: The collection is missing.
            Unavailable: Qdrant cannot be reached.
        """
        request = qdrant.CountPoints(collection_name=collection, exact=True)
        if where is not None:
            layout = await self._layout_of(collection, deadline_seconds)
            request.filter.CopyFrom(layout.condition(where, withdrawn_too=True))
        with translate_errors(self._address, collection):
            answer = await self._qdrant.points.Count(request, timeout=deadline_seconds)
        return answer.result.count

    async def state_of(self, build: str, *, deadline_seconds: float = _HEALTH_SECONDS) -> BuildState:
        """Dimension and number of works of a collection.

        Raises:
            NotReady: The collection is missing.
            Unavailable: Qdrant cannot be reached.
        """
        info = await self._info(build, deadline_seconds)
        return BuildState(info.config.params.vectors_config.params.size, info.points_count)

    async def vectors(
        self, collection: str, work_ids: Sequence[str], *, deadline_seconds: float = _HEALTH_SECONDS
    ) -> npt.NDArray[np.float32]:
        """Stored vectors of the given works.

        Returns:
            (F, D) float32 with one row for each work found, in any order; (0, 0) when none was found.

        Raises:
            NotReady: The collection is missing.
            Unavailable: Qdrant cannot be reached.
        """
        found = await self.vectors_of(collection, work_ids, deadline_seconds=deadline_seconds)
        return np.stack(list(found.values())) if found else np.empty((0, 0), dtype=np.float32)

    async def vectors_of(
        self, collection: str, work_ids: Sequence[str], *, deadline_seconds: float = _HEALTH_SECONDS
    ) -> dict[str, npt.NDArray[np.float32]]:
        """Stored vectors of the given works, as far as they were found, by work id: (D,) float32 each.

        Raises:
            NotReady: The collection is missing.
            Unavailable: Qdrant cannot be reached.
        """
        ids = {point_id(work_id): work_id for work_id in work_ids}
        request = qdrant.GetPoints(
            collection_name=collection,
            ids=[qdrant.PointId(uuid=uuid) for uuid in ids],
            with_payload=qdrant.WithPayloadSelector(enable=False),
            with_vectors=qdrant.WithVectorsSelector(enable=True),
        )
        with translate_errors(self._address, collection):
            answer = await self._qdrant.points.Get(request, timeout=deadline_seconds)
        return {
            ids[point.id.uuid]: np.asarray(stored_vector(point), dtype=np.float32) for point in answer.result
        }

    async def works(
        self, collection: str, work_ids: Sequence[str], *, deadline_seconds: float = _HEALTH_SECONDS
    ) -> dict[str, Hit]:
        """The given works as the collection holds them, withdrawn ones included, each with score 0.

        Args:
            collection: Name of a collection or an alias.
            work_ids: Ids of the works.
            deadline_seconds: Time limit of the call.

        Returns:
            The works found, by id.

        Raises:
            NotReady: The collection is missing.
            Unavailable: Qdrant cannot be reached.
        """
        points = [qdrant.PointId(uuid=point_id(work_id)) for work_id in work_ids]
        payloads = await self._payloads(collection, points, deadline_seconds) if points else {}
        found = [
            to_hit(qdrant.ScoredPoint(id=qdrant.PointId(uuid=point)), payload)
            for point, payload in payloads.items()
        ]
        return {hit.work_id: hit for hit in found}

    async def count_added(
        self, collection: str, generator: str | None = None, *, deadline_seconds: float = _HEALTH_SECONDS
    ) -> int:
        """Exact number of works that were added to a release.

        Args:
            collection: Name of a collection or an alias.
            generator: Fingerprint of a generator that was trained on them; None: of any.
            deadline_seconds: Time limit of the call.

        Raises:
            NotReady: The collection is missing.
            Unavailable: Qdrant cannot be reached.
        """
        request = qdrant.CountPoints(collection_name=collection, exact=True, filter=_added_by(generator))
        with translate_errors(self._address, collection):
            answer = await self._qdrant.points.Count(request, timeout=deadline_seconds)
        return answer.result.count

    async def added_after(
        self, collection: str, point: str, limit: int, *, deadline_seconds: float = _HEALTH_SECONDS
    ) -> tuple[list[Hit], bool]:
        """Works that were added to a release, in the order of their point ids, each with score 0.

        Args:
            collection: Name of a collection or an alias.
            point: Point id after which to read; empty: from the first.
            limit: Largest number of works.
            deadline_seconds: Time limit of the call.

        Returns:
            The works, and whether there are more.

        Raises:
            NotReady: The collection is missing.
            Unavailable: Qdrant cannot be reached.
        """
        # The offset is the first point of the answer, and one more shows whether there are more.
        request = qdrant.ScrollPoints(
            collection_name=collection,
            filter=_added_by(None),
            limit=limit + 2,
            with_payload=payload_fields(HIT_PAYLOAD_FIELDS),
            with_vectors=qdrant.WithVectorsSelector(enable=False),
        )
        if point:
            request.offset.uuid = point
        with translate_errors(self._address, collection):
            answer = await self._qdrant.points.Scroll(request, timeout=deadline_seconds)
        found = [each for each in answer.result if each.id.uuid != point]
        hits = [to_hit(qdrant.ScoredPoint(id=each.id), each.payload) for each in found[:limit]]
        return hits, len(found) > limit

    async def sample_added(
        self, collection: str, generator: str, limit: int, *, deadline_seconds: float
    ) -> AddedSample:
        """The first added works in the order of their point ids, which is a uniform sample of them.

        A point id is a hash of the work's id, so every gateway reads the same sample.

        Args:
            collection: Name of a collection or an alias.
            generator: Fingerprint of the generator that was trained on them.
            limit: Largest number of works to read.
            deadline_seconds: Time limit of all calls together.

        Raises:
            NotReady: The collection is missing.
            Unavailable: Qdrant cannot be reached.
        """
        ends, found = time.monotonic() + deadline_seconds, AddedSample([], [], [], {})
        request = qdrant.ScrollPoints(
            collection_name=collection,
            filter=_added_by(generator),
            limit=min(limit, _SCROLL_PAGE),
            with_payload=payload_fields(HIT_PAYLOAD_FIELDS),
            with_vectors=qdrant.WithVectorsSelector(enable=True),
        )
        while len(found.work_ids) < limit:
            with translate_errors(self._address, collection):
                page = await self._qdrant.points.Scroll(request, timeout=max(ends - time.monotonic(), 0.0))
            for point in page.result:
                found.add(point)
            if not page.HasField("next_page_offset"):
                break
            request.offset.CopyFrom(page.next_page_offset)
        return found

    async def _layout_of(self, collection: str, deadline_seconds: float) -> _Layout:
        """The layout of a collection, or of the build that an alias points to."""
        if collection in self._layouts:
            return self._layouts[collection]
        build = await self.build_of(collection, deadline_seconds=deadline_seconds)
        if build not in self._layouts:
            async with self._refresh_lock:
                if build not in self._layouts:
                    self._layouts[build] = await self._fetch_layout(build, deadline_seconds)
        return self._layouts[build]

    async def _fetch_layout(self, build: str, deadline_seconds: float) -> _Layout:
        info = await self._info(build, deadline_seconds)
        return _Layout(IndexPlan.of_collection(info.config), by_names_too=NAMES in info.payload_schema)

    async def _info(self, build: str, deadline_seconds: float) -> qdrant.CollectionInfo:
        request = qdrant.GetCollectionInfoRequest(collection_name=build)
        with translate_errors(self._address, build):
            answer = await self._qdrant.collections.Get(request, timeout=deadline_seconds)
        return answer.result

    async def _query(
        self, collection: str, requests: Sequence[qdrant.QueryPoints], deadline_seconds: float
    ) -> list[Sequence[qdrant.ScoredPoint]]:
        """The points found by each request; several requests are sent as one batch."""
        if not requests:
            return []
        with translate_errors(self._address, collection):
            if len(requests) == 1:
                answer = await self._qdrant.points.Query(requests[0], timeout=deadline_seconds)
                return [answer.result]
            batch = qdrant.QueryBatchPoints(collection_name=collection, query_points=requests)
            answers = await self._qdrant.points.QueryBatch(batch, timeout=deadline_seconds)
            return [answer.result for answer in answers.result]

    async def _payloads(
        self, collection: str, ids: Sequence[qdrant.PointId], deadline_seconds: float
    ) -> dict[str, Mapping[str, qdrant.Value]]:
        """Payloads of points by point id."""
        request = qdrant.GetPoints(
            collection_name=collection, ids=ids, with_payload=payload_fields(HIT_PAYLOAD_FIELDS)
        )
        with translate_errors(self._address, collection):
            answer = await self._qdrant.points.Get(request, timeout=max(deadline_seconds, 0.0))
        return {point.id.uuid: point.payload for point in answer.result}


def _added_by(generator: str | None) -> qdrant.Filter:
    """Filter for added works: of one generator, or of any."""
    if generator is not None:
        return qdrant.Filter(must=[trained_on_by([generator])])
    empty = qdrant.Condition(is_empty=qdrant.IsEmptyCondition(key="trained_on"))
    return qdrant.Filter(must_not=[empty])


def _merge_payloads(
    points: Sequence[qdrant.ScoredPoint], payloads: Mapping[str, Mapping[str, qdrant.Value]], most: int
) -> list[Hit]:
    """Hits of which only the first `most` have their payload."""
    best = [to_hit(point, payloads.get(point.id.uuid, _NO_PAYLOAD)) for point in points[:most]]
    return best + [hit_without_payload(point) for point in points[most:]]


def grouped(hits: Sequence[Hit], by: GroupField, groups: int, per_group: int) -> list[list[Hit]]:
    """Group hits by a field.

    Args:
        hits: Hits, best first.
        by: Field that defines the groups.
        groups: Maximum number of groups; later groups are left out.
        per_group: Maximum number of hits per group.

    Returns:
        Hits by group, in the order in which the groups first occur.
    """
    members: dict[str, list[Hit]] = {}
    for hit in hits:
        is_person = by == "contributor"
        key = key_of(hit.contributor, hit.contributor_id) if is_person else hit.duplicate_group
        if key not in members and len(members) == groups:
            continue
        if len(members.setdefault(key, [])) < per_group:
            members[key].append(hit)
    return list(members.values())
