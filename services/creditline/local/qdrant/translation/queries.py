"""Qdrant's read requests as Qdrant Edge's. What is not served raises NotServed by name."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeAlias

import qdrant_edge as edge
from qdrant_client import grpc as qdrant

from creditline.errors import InvalidInput
from creditline.local.qdrant.translation.edge_types import WithPayload
from creditline.local.qdrant.translation.filters import optional_filter
from creditline.local.qdrant.translation.points import finite
from creditline.local.qdrant.translation.unsupported import NotServed, refuse_other_fields
from creditline.local.qdrant.translation.values import PointId, edge_id

_SearchRequest: TypeAlias = qdrant.QueryPoints | qdrant.QueryPointGroups | qdrant.SearchPoints
_ReadRequest: TypeAlias = _SearchRequest | qdrant.ScrollPoints | qdrant.GetPoints
_DEFAULT_LIMIT = 10
_DEFAULT_GROUP_SIZE = 3
# One process is always consistent with itself, and calls have gRPC's own deadline.
_EVERYWHERE = frozenset({"collection_name", "read_consistency", "timeout"})
_QUERY_FIELDS = _EVERYWHERE | {
    *("query", "filter", "params", "score_threshold", "limit", "offset", "with_vectors", "with_payload")
}
_GROUP_FIELDS = (_QUERY_FIELDS - {"offset"}) | {"group_size", "group_by"}
_SEARCH_FIELDS = (_QUERY_FIELDS - {"query"}) | {"vector"}
_SCROLL_FIELDS = _EVERYWHERE | {"filter", "offset", "limit", "with_payload", "with_vectors"}
_COUNT_FIELDS = _EVERYWHERE | {"filter", "exact"}
_FACET_FIELDS = _COUNT_FIELDS | {"key", "limit"}
_GET_FIELDS = _EVERYWHERE | {"ids", "with_payload", "with_vectors"}
_PARAMS_FIELDS = frozenset({"hnsw_ef", "exact", "quantization", "indexed_only", "acorn"})


@dataclass(frozen=True)
class Search:
    """One search for the nearest points of a dense vector."""

    vector: list[float]
    limit: int
    offset: int
    filter: edge.Filter | None
    score_threshold: float | None
    params: edge.SearchParams
    with_payload: WithPayload
    with_vector: bool

    def on_one_shard(self) -> edge.QueryRequest:
        """All that the shard may have to contribute: the `offset` points that are skipped too."""
        return edge.QueryRequest(
            limit=self.limit + self.offset,
            query=edge.Query.Nearest(self.vector),
            filter=self.filter,
            score_threshold=self.score_threshold,
            params=self.params,
            with_payload=self.with_payload,
            with_vector=self.with_vector,
        )

    def may_have_missed(self, found: int) -> bool:
        """Whether a shard that found so few points may have ended in a dead end of its graph."""
        return self.filter is not None and not self.params.exact and found < self.limit + self.offset

    def through_neighbours(self) -> Search:
        """The same search, which looks past points that fail the filter to their neighbours (ACORN)."""
        params = edge.SearchParams(
            hnsw_ef=self.params.hnsw_ef,
            quantization=self.params.quantization,
            indexed_only=self.params.indexed_only,
            acorn=edge.AcornSearchParams(enable=True, max_selectivity=1.0),
        )
        return replace(self, params=params)


@dataclass(frozen=True)
class GroupSearch:
    """A search whose points are put into groups by a payload field; its own limit is that of groups."""

    search: Search
    group_by: str
    group_size: int


@dataclass(frozen=True)
class Scroll:
    """One page of points in the order of their ids, from `offset` on."""

    offset: PointId | None
    limit: int
    filter: edge.Filter | None
    with_payload: WithPayload
    with_vector: bool

    def on_one_shard(self) -> edge.ScrollRequest:
        return edge.ScrollRequest(
            offset=self.offset,
            limit=self.limit,
            filter=self.filter,
            with_payload=self.with_payload,
            with_vector=self.with_vector,
        )


@dataclass(frozen=True)
class Facet:
    """How many points have which value of a payload field."""

    key: str
    limit: int
    exact: bool
    filter: edge.Filter | None


def search_of_query(request: qdrant.QueryPoints) -> Search:
    """Nearest points to a dense vector; prefetches, fusions and the rest raise NotServed."""
    refuse_other_fields(request, _QUERY_FIELDS, "a query")
    return _search(
        request, _queried_vector(request.query), request.limit if request.HasField("limit") else None
    )


def prefix_of(longer: Search, request: qdrant.QueryPoints) -> Search:
    """The search of a query whose answer is the beginning of another's."""
    refuse_other_fields(request, _QUERY_FIELDS, "a query")
    payload = payload_selector(request, default=False)
    return replace(longer, limit=request.limit, with_payload=payload, with_vector=with_vectors(request))


def search_of_search(request: qdrant.SearchPoints) -> Search:
    """The older form of the same request."""
    refuse_other_fields(request, _SEARCH_FIELDS, "a search")
    return _search(request, finite(list(request.vector)), request.limit)


def group_search(request: qdrant.QueryPointGroups) -> GroupSearch:
    """Raises InvalidInput without a field to group by."""
    refuse_other_fields(request, _GROUP_FIELDS, "a query for groups")
    if not request.group_by:
        raise InvalidInput("no field to group by is given", field="group_by")
    search = _search(
        request, _queried_vector(request.query), request.limit if request.HasField("limit") else None
    )
    size = request.group_size if request.HasField("group_size") else _DEFAULT_GROUP_SIZE
    if size < 1:
        raise InvalidInput("a group holds 1 or more points", field="group_size")
    return GroupSearch(search, request.group_by, size)


def _search(request: _SearchRequest, vector: list[float], limit: int | None) -> Search:
    return Search(
        vector=vector,
        limit=_DEFAULT_LIMIT if limit is None else limit,
        offset=0 if isinstance(request, qdrant.QueryPointGroups) else request.offset,
        filter=optional_filter(request.filter),
        score_threshold=request.score_threshold if request.HasField("score_threshold") else None,
        params=_search_params(request.params),
        with_payload=payload_selector(request, default=False),
        with_vector=with_vectors(request),
    )


def _queried_vector(query: qdrant.Query) -> list[float]:
    kind = query.WhichOneof("variant")
    if kind != "nearest":
        raise NotServed(f"the query {kind or 'without a vector'} (only nearest is)")
    variant = query.nearest.WhichOneof("variant")
    if variant != "dense":
        raise NotServed(f"a query by {variant} (a dense vector is)")
    return finite(query.nearest.dense.data[:])


def _search_params(message: qdrant.SearchParams) -> edge.SearchParams:
    refuse_other_fields(message, _PARAMS_FIELDS, "search params")
    # A filtered search goes only to points that pass. A point whose neighbours all fail leads nowhere, and a
    # search that begins there finds that point alone: with a quarter passing, one build in twelve has such
    # points where up to every eighth query ends. ACORN looks past them; it is used for narrow filters only.
    quantization, acorn = None, edge.AcornSearchParams(enable=True)
    if message.HasField("quantization"):
        given = message.quantization
        quantization = edge.QuantizationSearchParams(
            ignore=given.ignore,
            rescore=given.rescore if given.HasField("rescore") else None,
            oversampling=given.oversampling if given.HasField("oversampling") else None,
        )
    if message.HasField("acorn"):
        acorn = edge.AcornSearchParams(
            message.acorn.enable,
            message.acorn.max_selectivity if message.acorn.HasField("max_selectivity") else None,
        )
    return edge.SearchParams(
        hnsw_ef=message.hnsw_ef if message.HasField("hnsw_ef") else None,
        exact=message.exact,
        quantization=quantization,
        indexed_only=message.indexed_only,
        acorn=acorn,
    )


def scroll(request: qdrant.ScrollPoints) -> Scroll:
    refuse_other_fields(request, _SCROLL_FIELDS, "a scroll")
    return Scroll(
        offset=edge_id(request.offset) if request.HasField("offset") else None,
        limit=request.limit if request.HasField("limit") else _DEFAULT_LIMIT,
        filter=optional_filter(request.filter),
        with_payload=payload_selector(request, default=True),
        with_vector=with_vectors(request),
    )


def count(request: qdrant.CountPoints) -> edge.CountRequest:
    """Exact unless the request says otherwise."""
    refuse_other_fields(request, _COUNT_FIELDS, "a count")
    exact = request.exact if request.HasField("exact") else True
    return edge.CountRequest(exact=exact, filter=optional_filter(request.filter))


def facet(request: qdrant.FacetCounts) -> Facet:
    refuse_other_fields(request, _FACET_FIELDS, "a facet")
    limit = request.limit if request.HasField("limit") else _DEFAULT_LIMIT
    return Facet(request.key, limit, request.exact, optional_filter(request.filter))


def wanted_ids(request: qdrant.GetPoints) -> list[PointId]:
    refuse_other_fields(request, _GET_FIELDS, "a retrieval")
    return [edge_id(point) for point in request.ids]


def payload_selector(request: _ReadRequest, *, default: bool) -> WithPayload:
    """All, none, or the named payload fields; `default` when the request does not say."""
    selector = request.with_payload
    match selector.WhichOneof("selector_options"):
        case "enable":
            return selector.enable
        case "include":
            return edge.PayloadSelector.Include(list(selector.include.fields))
        case "exclude":
            return edge.PayloadSelector.Exclude(list(selector.exclude.fields))
    return default


def with_vectors(request: _ReadRequest) -> bool:
    if request.with_vectors.WhichOneof("selector_options") == "include":
        raise NotServed("named vectors")
    return request.with_vectors.enable
