"""Qdrant's Points service: writing and reading the points of a collection."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import qdrant_edge as edge

from creditline.errors import InvalidInput
from creditline.local.qdrant.api.batch_prefixes import batch_prefixes
from creditline.local.qdrant.api.calls import served, served_at_once
from creditline.local.qdrant.storage.collection import StoredCollection
from creditline.local.qdrant.storage.directory import CollectionDirectory
from creditline.local.qdrant.translation import queries
from creditline.local.qdrant.translation.edge_types import Record, ScoredPoint
from creditline.local.qdrant.translation.field_indexes import field_index_creation
from creditline.local.qdrant.translation.filters import edge_filter, optional_filter
from creditline.local.qdrant.translation.grouping import Group
from creditline.local.qdrant.translation.points import (
    ScoredPointMessages,
    edge_points,
    fill_record,
    fill_scored,
    fill_with_records,
)
from creditline.local.qdrant.translation.unsupported import reject_unsupported_fields
from creditline.local.qdrant.translation.values import Payload, PointId, edge_id, grpc_id, python_payload
from creditline.qdrant_messages import qdrant

# `wait` and `ordering` have no effect: every write waits until it is durable, and writes are ordered.
_WRITES = frozenset({"collection_name", "wait", "ordering", "timeout"})
_UPSERT_FIELDS = _WRITES | {"points", "update_filter", "update_mode"}
_SELECTED_FIELDS = _WRITES | {"points"}
_PAYLOAD_FIELDS = _WRITES | {"payload", "points_selector", "key"}
_KEYS_FIELDS = _WRITES | {"keys", "points_selector"}
_INDEX_FIELDS = _WRITES | {"field_name", "field_type", "field_index_params"}
_UPDATE_MODES = {
    qdrant.UpdateMode.Upsert: None,
    qdrant.UpdateMode.InsertOnly: edge.UpdateMode.InsertOnly,
    qdrant.UpdateMode.UpdateOnly: edge.UpdateMode.UpdateOnly,
}


class _HasCollectionName(Protocol):
    """A request with the field `collection_name`."""

    @property
    def collection_name(self) -> str: ...


class PointsService(qdrant.PointsServicer):
    """Implements `qdrant.Points`; `calls` turns the CreditlineErrors of its methods into statuses."""

    def __init__(self, directory: CollectionDirectory) -> None:
        self._directory = directory
        # Two threads that convert points at once only compete for the GIL.
        self._translating = threading.Lock()

    @served
    def Upsert(self, request: qdrant.UpsertPoints) -> qdrant.PointsOperationResponse:  # noqa: N802
        reject_unsupported_fields(request, _UPSERT_FIELDS, "an upsert")
        collection = self._collection(request)
        with self._translating:
            points = edge_points(request.points, collection.dimension)
        condition = optional_filter(request.update_filter)
        return _done(collection.upsert(points, condition, _UPDATE_MODES[request.update_mode]))

    @served
    def Delete(self, request: qdrant.DeletePoints) -> qdrant.PointsOperationResponse:  # noqa: N802
        reject_unsupported_fields(request, _SELECTED_FIELDS, "a deletion")
        updates = edge.UpdateOperation
        return self._write(request, request.points, updates.delete_points, updates.delete_points_by_filter)

    @served
    def SetPayload(self, request: qdrant.SetPayloadPoints) -> qdrant.PointsOperationResponse:  # noqa: N802
        """Sets some payload fields of the selected points."""
        updates = edge.UpdateOperation
        return self._write_payload(request, updates.set_payload, updates.set_payload_by_filter)

    @served
    def OverwritePayload(  # noqa: N802
        self, request: qdrant.SetPayloadPoints
    ) -> qdrant.PointsOperationResponse:
        """Replaces the whole payload of the selected points."""
        updates = edge.UpdateOperation
        return self._write_payload(request, updates.overwrite_payload, updates.overwrite_payload_by_filter)

    @served
    def DeletePayload(  # noqa: N802
        self, request: qdrant.DeletePayloadPoints
    ) -> qdrant.PointsOperationResponse:
        reject_unsupported_fields(request, _KEYS_FIELDS, "a deletion of payload")
        updates, keys = edge.UpdateOperation, list(request.keys)
        return self._write(
            request,
            request.points_selector,
            lambda ids: updates.delete_payload(ids, keys),
            lambda selected: updates.delete_payload_by_filter(selected, keys),
        )

    @served
    def ClearPayload(self, request: qdrant.ClearPayloadPoints) -> qdrant.PointsOperationResponse:  # noqa: N802
        reject_unsupported_fields(request, _SELECTED_FIELDS, "a clearing of payload")
        updates = edge.UpdateOperation
        return self._write(request, request.points, updates.clear_payload, updates.clear_payload_by_filter)

    @served
    def CreateFieldIndex(  # noqa: N802
        self, request: qdrant.CreateFieldIndexCollection
    ) -> qdrant.PointsOperationResponse:
        reject_unsupported_fields(request, _INDEX_FIELDS, "an index")
        return _done(self._collection(request).write_everywhere(field_index_creation(request)))

    @served
    def DeleteFieldIndex(  # noqa: N802
        self, request: qdrant.DeleteFieldIndexCollection
    ) -> qdrant.PointsOperationResponse:
        deletion = edge.UpdateOperation.delete_field_index(request.field_name)
        return _done(self._collection(request).write_everywhere(deletion))

    @served_at_once
    def Query(self, request: qdrant.QueryPoints) -> qdrant.QueryResponse:  # noqa: N802
        answer = qdrant.QueryResponse()
        search = queries.search_of_query(request)
        fill_scored(answer.result, self._collection(request).query([search])[0])
        return answer

    @served_at_once
    def QueryBatch(self, request: qdrant.QueryBatchPoints) -> qdrant.QueryBatchResponse:  # noqa: N802
        """Runs all queries as one batch; those whose result is a prefix of another's need no search."""
        answer, collection = qdrant.QueryBatchResponse(), self._collection(request)
        batch, prefixes = request.query_points, batch_prefixes(request.query_points)
        searches = {
            place: queries.search_of_query(query)
            for place, query in enumerate(batch)
            if place not in prefixes
        }
        found = dict(zip(searches, collection.query(list(searches.values())), strict=True))
        for place, query in enumerate(batch):
            result = answer.result.add().result
            if place in found:
                fill_scored(result, found[place])
            else:
                search = queries.prefix_of(searches[prefixes[place]], query)
                _fill_from_prefix(result, found[prefixes[place]][: search.limit], collection, search)
        return answer

    @served
    def QueryGroups(self, request: qdrant.QueryPointGroups) -> qdrant.QueryGroupsResponse:  # noqa: N802
        answer = qdrant.QueryGroupsResponse()
        answer.result.SetInParent()
        groups, records = self._collection(request).query_groups(queries.group_search(request))
        for group in groups:
            _fill_group(answer.result.groups.add(), group, records)
        return answer

    @served_at_once
    def Search(self, request: qdrant.SearchPoints) -> qdrant.SearchResponse:  # noqa: N802
        answer = qdrant.SearchResponse()
        search = queries.search_of_search(request)
        fill_scored(answer.result, self._collection(request).query([search])[0])
        return answer

    @served
    def Count(self, request: qdrant.CountPoints) -> qdrant.CountResponse:  # noqa: N802
        count = self._collection(request).count(queries.count(request))
        return qdrant.CountResponse(result=qdrant.CountResult(count=count))

    @served
    def Facet(self, request: qdrant.FacetCounts) -> qdrant.FacetResponse:  # noqa: N802
        """Requires a keyword or integer index on the field, as on a server."""
        answer = qdrant.FacetResponse()
        for value, count in self._collection(request).facet(queries.facet(request)):
            hit = answer.hits.add(count=count)
            if isinstance(value, str):
                hit.value.string_value = value
            else:
                hit.value.integer_value = value
        return answer

    @served
    def Scroll(self, request: qdrant.ScrollPoints) -> qdrant.ScrollResponse:  # noqa: N802
        page = self._collection(request).scroll(queries.scroll(request))
        answer = qdrant.ScrollResponse(
            next_page_offset=None if page.following is None else grpc_id(page.following)
        )
        for record in page.records:
            fill_record(answer.result.add(), record)
        return answer

    @served_at_once
    def Get(self, request: qdrant.GetPoints) -> qdrant.GetResponse:  # noqa: N802
        ids, vectors = queries.requested_ids(request), queries.with_vectors(request)
        fields = queries.payload_selector(request, default=True)
        answer = qdrant.GetResponse()
        for record in self._collection(request).retrieve(ids, fields, with_vector=vectors):
            fill_record(answer.result.add(), record)
        return answer

    def _collection(self, request: _HasCollectionName) -> StoredCollection:
        return self._directory.collection(request.collection_name)

    def _write_payload(
        self,
        request: qdrant.SetPayloadPoints,
        by_ids: Callable[[list[edge.PointId], Payload, str | None], edge.UpdateOperation],
        by_filter: Callable[[edge.Filter, Payload, str | None], edge.UpdateOperation],
    ) -> qdrant.PointsOperationResponse:
        reject_unsupported_fields(request, _PAYLOAD_FIELDS, "a change of payload")
        payload, key = python_payload(request.payload), request.key if request.HasField("key") else None
        return self._write(
            request,
            request.points_selector,
            lambda ids: by_ids(ids, payload, key),
            lambda selected: by_filter(selected, payload, key),
        )

    def _write(
        self,
        request: _HasCollectionName,
        selector: qdrant.PointsSelector,
        by_ids: Callable[[list[edge.PointId]], edge.UpdateOperation],
        by_filter: Callable[[edge.Filter], edge.UpdateOperation],
    ) -> qdrant.PointsOperationResponse:
        """Apply the update for points selected by ids, or the one for points selected by a filter."""
        collection = self._collection(request)
        match selector.WhichOneof("points_selector_one_of"):
            case "points":
                ids = [edge_id(point) for point in selector.points.ids]
                return _done(collection.write_to(ids, by_ids))
            case "filter":
                operation = by_filter(edge_filter(selector.filter))
                return _done(collection.write_everywhere(operation, selects=True))
        raise InvalidInput("the request selects no points; give ids or a filter", field="points")


def _done(number: int) -> qdrant.PointsOperationResponse:
    result = qdrant.UpdateResult(operation_id=number, status=qdrant.UpdateStatus.Completed)
    return qdrant.PointsOperationResponse(result=result)


def _fill_from_prefix(
    messages: ScoredPointMessages,
    points: Sequence[ScoredPoint],
    collection: StoredCollection,
    search: queries.Search,
) -> None:
    """Fill a result from the points of a longer search, with the payload and vectors of this one."""
    ids = [point.id for point in points]
    records = collection.records(ids, search.with_payload, with_vector=search.with_vector)
    fill_with_records(messages, points, records)


def _fill_group(message: qdrant.PointGroup, group: Group, records: Mapping[PointId, Record]) -> None:
    match group.key:
        case str():
            message.id.string_value = group.key
        case int() if group.key < 0:
            message.id.integer_value = group.key
        case _:
            message.id.unsigned_value = group.key
    fill_with_records(message.hits, group.points, records)
