"""Translates Qdrant's read requests to Qdrant Edge's; unsupported fields raise Unsupported, by name."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeAlias

import qdrant_edge as edge

from creditline.errors import InvalidInput
from creditline.local.qdrant.translation.edge_types import WithPayload
from creditline.local.qdrant.translation.filters import optional_filter
from creditline.local.qdrant.translation.points import finite
from creditline.local.qdrant.translation.unsupported import Unsupported, reject_unsupported_fields
from creditline.local.qdrant.translation.values import PointId, edge_id
from creditline.qdrant_messages import qdrant

_SearchRequest: TypeAlias = qdrant.QueryPoints | qdrant.QueryPointGroups | qdrant.SearchPoints
_ReadRequest: TypeAlias = _SearchRequest | qdrant.ScrollPoints | qdrant.GetPoints
_DEFAULT_LIMIT = 10
_DEFAULT_GROUP_SIZE = 3
# Accepted without effect: one process is always consistent, and calls have a gRPC deadline.
_COMMON_FIELDS = frozenset({"collection_name", "read_consistency", "timeout"})
_QUERY_FIELDS = _COMMON_FIELDS | {
    *("query", "filter", "params", "score_threshold", "limit", "offset", "with_vectors", "with_payload")
}
_GROUP_FIELDS = (_QUERY_FIELDS - {"offset"}) | {"group_size", "group_by"}
_SEARCH_FIELDS = (_QUERY_FIELDS - {"query"}) | {"vector"}
_SCROLL_FIELDS = _COMMON_FIELDS | {"filter", "offset", "limit", "with_payload", "with_vectors"}
_COUNT_FIELDS = _COMMON_FIELDS | {"filter", "exact"}
_FACET_FIELDS = _COUNT_FIELDS | {"key", "limit"}
_GET_FIELDS = _COMMON_FIELDS | {"ids", "with_payload", "with_vectors"}
_PARAMS_FIELDS = frozenset({"hnsw_ef", "exact", "quantization", "indexed_only", "acorn"})


@dataclass(frozen=True)
class Search:
    """A search for the points nearest to a dense vector."""

    vector: list[float]
    """Query vector, of the collection's dimension."""
    limit: int
    """Largest number of points to return."""
    offset: int
    """Number of best points to skip."""
    filter: edge.Filter | None
    """Filter that the points must pass; None: no filter."""
    score_threshold: float | None
    """Worst score to return; None: no threshold."""
    params: edge.SearchParams
    """Search parameters: ef, exact search, rescoring, ACORN."""
    with_payload: WithPayload
    """Payload fields to return."""
    with_vector: bool
    """Whether to return the points' vectors."""

    def on_one_shard(self) -> edge.QueryRequest:
        """The request to one shard, which includes the `offset` skipped points."""
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
        """Whether a search that returned only `found` points may have stopped in a dead end of the graph."""
        return self.filter is not None and not self.params.exact and found < self.limit + self.offset

    def through_neighbours(self) -> Search:
        """The same search with ACORN: it also expands the neighbours of points that fail the filter."""
        params = edge.SearchParams(
            hnsw_ef=self.params.hnsw_ef,
            quantization=self.params.quantization,
            indexed_only=self.params.indexed_only,
            acorn=edge.AcornSearchParams(enable=True, max_selectivity=1.0),
        )
        return replace(self, params=params)


@dataclass(frozen=True)
class GroupSearch:
    """A search whose points are grouped by a payload field."""

    search: Search
    """The search; its `limit` is the largest number of groups."""
    group_by: str
    """Path of the payload field."""
    group_size: int
    """Largest number of points per group."""


@dataclass(frozen=True)
class Scroll:
    """A request for one page of points, ordered by id."""

    offset: PointId | None
    """First id of the page; None: the lowest id."""
    limit: int
    """Largest number of points on the page."""
    filter: edge.Filter | None
    """Filter that the points must pass; None: no filter."""
    with_payload: WithPayload
    """Payload fields to return."""
    with_vector: bool
    """Whether to return the points' vectors."""

    def on_one_shard(self) -> edge.ScrollRequest:
        """The request to one shard."""
        return edge.ScrollRequest(
            offset=self.offset,
            limit=self.limit,
            filter=self.filter,
            with_payload=self.with_payload,
            with_vector=self.with_vector,
        )


@dataclass(frozen=True)
class Facet:
    """A request for the number of points per value of a payload field."""

    key: str
    """Path of the payload field."""
    limit: int
    """Largest number of values to return."""
    exact: bool
    """Whether to count exactly rather than estimate."""
    filter: edge.Filter | None
    """Filter that the points must pass; None: no filter."""


def search_of_query(request: qdrant.QueryPoints) -> Search:
    """A nearest-neighbour query by a dense vector.

    Raises:
        Unsupported: The query is of another kind, or has prefetches.
        InvalidInput: The vector holds NaN or an infinity.
    """
    reject_unsupported_fields(request, _QUERY_FIELDS, "a query")
    return _search(
        request, _queried_vector(request.query), request.limit if request.HasField("limit") else None
    )


def prefix_of(longer: Search, request: qdrant.QueryPoints) -> Search:
    """The search of a query whose result is a prefix of that of `longer` (see `api.batch_prefixes`)."""
    reject_unsupported_fields(request, _QUERY_FIELDS, "a query")
    payload = payload_selector(request, default=False)
    return replace(longer, limit=request.limit, with_payload=payload, with_vector=with_vectors(request))


def search_of_search(request: qdrant.SearchPoints) -> Search:
    """A search by the older `Search` call; raises as `search_of_query`."""
    reject_unsupported_fields(request, _SEARCH_FIELDS, "a search")
    return _search(request, finite(list(request.vector)), request.limit)


def group_search(request: qdrant.QueryPointGroups) -> GroupSearch:
    """A query for groups.

    Raises:
        Unsupported: The query is not a nearest-neighbour query by a dense vector.
        InvalidInput: `group_by` is empty, or `group_size` is 0.
    """
    reject_unsupported_fields(request, _GROUP_FIELDS, "a query for groups")
    if not request.group_by:
        raise InvalidInput(
            "the query for groups names no field in group_by; give the path of a payload field",
            field="group_by",
        )
    search = _search(
        request, _queried_vector(request.query), request.limit if request.HasField("limit") else None
    )
    size = request.group_size if request.HasField("group_size") else _DEFAULT_GROUP_SIZE
    if size < 1:
        raise InvalidInput(f"group_size is {size}; a group holds at least 1 point", field="group_size")
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
        raise Unsupported(f"the query {kind or 'without a vector'} (only nearest is supported)")
    variant = query.nearest.WhichOneof("variant")
    if variant != "dense":
        raise Unsupported(f"a query by {variant} (only a dense vector is supported)")
    return finite(query.nearest.dense.data[:])


def _search_params(message: qdrant.SearchParams) -> edge.SearchParams:
    reject_unsupported_fields(message, _PARAMS_FIELDS, "search params")
    # A filtered search visits only points that pass. A point whose neighbours all fail is a dead end, and a
    # search that starts there finds that point alone: with a quarter of points passing, one build in twelve
    # has dead ends that stop up to one query in eight. ACORN expands past them; Edge uses it for narrow
    # filters only.
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
    """A scroll by id. Raises Unsupported for another order."""
    reject_unsupported_fields(request, _SCROLL_FIELDS, "a scroll")
    return Scroll(
        offset=edge_id(request.offset) if request.HasField("offset") else None,
        limit=request.limit if request.HasField("limit") else _DEFAULT_LIMIT,
        filter=optional_filter(request.filter),
        with_payload=payload_selector(request, default=True),
        with_vector=with_vectors(request),
    )


def count(request: qdrant.CountPoints) -> edge.CountRequest:
    """A count, exact unless the request sets `exact` to false."""
    reject_unsupported_fields(request, _COUNT_FIELDS, "a count")
    exact = request.exact if request.HasField("exact") else True
    return edge.CountRequest(exact=exact, filter=optional_filter(request.filter))


def facet(request: qdrant.FacetCounts) -> Facet:
    """A facet; raises Unsupported and InvalidInput as `edge_filter`."""
    reject_unsupported_fields(request, _FACET_FIELDS, "a facet")
    limit = request.limit if request.HasField("limit") else _DEFAULT_LIMIT
    return Facet(request.key, limit, request.exact, optional_filter(request.filter))


def requested_ids(request: qdrant.GetPoints) -> list[PointId]:
    """The ids of a retrieval. Raises InvalidInput for a malformed id."""
    reject_unsupported_fields(request, _GET_FIELDS, "a retrieval")
    return [edge_id(point) for point in request.ids]


def payload_selector(request: _ReadRequest, *, default: bool) -> WithPayload:
    """Selected payload fields: all, none, or by name; `default` where the request does not select any."""
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
    """Whether vectors are requested. Raises Unsupported for named vectors."""
    if request.with_vectors.WhichOneof("selector_options") == "include":
        raise Unsupported("named vectors")
    return request.with_vectors.enable
