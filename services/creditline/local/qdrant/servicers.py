"""Qdrant's Collections, Points and Qdrant services over a directory of Edge shards."""

from __future__ import annotations

import importlib.metadata
from typing import Any

import qdrant_edge as edge
from qdrant_client import grpc as qdrant
from qdrant_client.grpc import collections_service_pb2_grpc, points_service_pb2_grpc, qdrant_pb2_grpc

from creditline.errors import InvalidInput
from creditline.local.qdrant.calls import served
from creditline.local.qdrant.storage import CollectionDirectory, StoredCollection
from creditline.local.qdrant.translation import (
    edge_field_type,
    edge_filter,
    edge_id,
    edge_payload_selector,
    edge_point,
    edge_query,
    edge_scroll,
    edge_search,
    fill_record,
    fill_scored,
    grpc_id,
    optional_filter,
    python_payload,
    with_vectors,
)

_SCHEMA_TYPES = {
    edge.PayloadSchemaType.Keyword: qdrant.PayloadSchemaType.Keyword,
    edge.PayloadSchemaType.Integer: qdrant.PayloadSchemaType.Integer,
    edge.PayloadSchemaType.Float: qdrant.PayloadSchemaType.Float,
}


class CollectionsService(collections_service_pb2_grpc.CollectionsServicer):
    """Collections and aliases."""

    def __init__(self, directory: CollectionDirectory) -> None:
        self._directory = directory

    @served
    def Create(self, request: qdrant.CreateCollection) -> qdrant.CollectionOperationResponse:  # noqa: N802
        self._directory.create(request)
        return qdrant.CollectionOperationResponse(result=True)

    @served
    def Delete(self, request: qdrant.DeleteCollection) -> qdrant.CollectionOperationResponse:  # noqa: N802
        return qdrant.CollectionOperationResponse(result=self._directory.drop(request.collection_name))

    @served
    def Update(self, request: qdrant.UpdateCollection) -> qdrant.CollectionOperationResponse:  # noqa: N802
        """Starts the optimizer. New settings are taken when a collection is made, not here."""
        self._directory.collection(request.collection_name).start_optimizing()
        return qdrant.CollectionOperationResponse(result=True)

    @served
    def List(self, request: qdrant.ListCollectionsRequest) -> qdrant.ListCollectionsResponse:  # noqa: N802
        found = [qdrant.CollectionDescription(name=name) for name in self._directory.names()]
        return qdrant.ListCollectionsResponse(collections=found)

    @served
    def CollectionExists(  # noqa: N802
        self, request: qdrant.CollectionExistsRequest
    ) -> qdrant.CollectionExistsResponse:
        exists = self._directory.has(request.collection_name)
        return qdrant.CollectionExistsResponse(result=qdrant.CollectionExists(exists=exists))

    @served
    def Get(self, request: qdrant.GetCollectionInfoRequest) -> qdrant.GetCollectionInfoResponse:  # noqa: N802
        collection = self._directory.collection(request.collection_name)
        info = collection.read(lambda shard: shard.info())
        return qdrant.GetCollectionInfoResponse(result=_collection_info(collection, info))

    @served
    def UpdateAliases(self, request: qdrant.ChangeAliases) -> qdrant.CollectionOperationResponse:  # noqa: N802
        self._directory.change_aliases(request.actions)
        return qdrant.CollectionOperationResponse(result=True)

    @served
    def ListAliases(self, request: qdrant.ListAliasesRequest) -> qdrant.ListAliasesResponse:  # noqa: N802
        return qdrant.ListAliasesResponse(
            aliases=[
                qdrant.AliasDescription(alias_name=alias, collection_name=target)
                for alias, target in sorted(self._directory.aliases().items())
            ]
        )


class PointsService(points_service_pb2_grpc.PointsServicer):
    """Points of one collection."""

    def __init__(self, directory: CollectionDirectory) -> None:
        self._directory = directory

    @served
    def Upsert(self, request: qdrant.UpsertPoints) -> qdrant.PointsOperationResponse:  # noqa: N802
        points = [edge_point(point) for point in request.points]
        return self._write(request.collection_name, edge.UpdateOperation.upsert_points(points))

    @served
    def Delete(self, request: qdrant.DeletePoints) -> qdrant.PointsOperationResponse:  # noqa: N802
        if _selects_by_filter(request.points):
            operation = edge.UpdateOperation.delete_points_by_filter(edge_filter(request.points.filter))
        else:
            operation = edge.UpdateOperation.delete_points(_selected_ids(request.points))
        return self._write(request.collection_name, operation)

    @served
    def SetPayload(self, request: qdrant.SetPayloadPoints) -> qdrant.PointsOperationResponse:  # noqa: N802
        payload = python_payload(request.payload)
        selector = request.points_selector
        if _selects_by_filter(selector):
            operation = edge.UpdateOperation.set_payload_by_filter(edge_filter(selector.filter), payload)
        else:
            operation = edge.UpdateOperation.set_payload(_selected_ids(selector), payload)
        return self._write(request.collection_name, operation)

    @served
    def CreateFieldIndex(  # noqa: N802
        self, request: qdrant.CreateFieldIndexCollection
    ) -> qdrant.PointsOperationResponse:
        operation = edge.UpdateOperation.create_field_index(request.field_name, edge_field_type(request))
        return self._write(request.collection_name, operation)

    @served
    def Query(self, request: qdrant.QueryPoints) -> qdrant.QueryResponse:  # noqa: N802
        answer = qdrant.QueryResponse()
        for point in self._query(request.collection_name, edge_query(request)):
            fill_scored(answer.result.add(), point)
        return answer

    @served
    def Search(self, request: qdrant.SearchPoints) -> qdrant.SearchResponse:  # noqa: N802
        answer = qdrant.SearchResponse()
        for point in self._query(request.collection_name, edge_search(request)):
            fill_scored(answer.result.add(), point)
        return answer

    @served
    def Count(self, request: qdrant.CountPoints) -> qdrant.CountResponse:  # noqa: N802
        exact = request.exact if request.HasField("exact") else True
        wanted = edge.CountRequest(exact=exact, filter=optional_filter(request.filter))
        count = self._directory.collection(request.collection_name).read(lambda shard: shard.count(wanted))
        return qdrant.CountResponse(result=qdrant.CountResult(count=count))

    @served
    def Scroll(self, request: qdrant.ScrollPoints) -> qdrant.ScrollResponse:  # noqa: N802
        wanted = edge_scroll(request)
        collection = self._directory.collection(request.collection_name)
        records, following = collection.read(lambda shard: shard.scroll(wanted))
        answer = qdrant.ScrollResponse(next_page_offset=None if following is None else grpc_id(following))
        for record in records:
            fill_record(answer.result.add(), record)
        return answer

    @served
    def Get(self, request: qdrant.GetPoints) -> qdrant.GetResponse:  # noqa: N802
        ids = [edge_id(point) for point in request.ids]
        fields, vectors = edge_payload_selector(request, default=True), with_vectors(request)
        collection = self._directory.collection(request.collection_name)
        records = collection.read(lambda shard: shard.retrieve(ids, fields, vectors))
        answer = qdrant.GetResponse()
        for record in records:
            fill_record(answer.result.add(), record)
        return answer

    def _query(self, name: str, wanted: Any) -> list[Any]:
        """Edge's ScoredPoints, best first."""
        return self._directory.collection(name).read(lambda shard: shard.query(wanted))

    def _write(self, name: str, operation: Any) -> qdrant.PointsOperationResponse:
        number = self._directory.collection(name).write(operation)
        done = qdrant.UpdateResult(operation_id=number, status=qdrant.UpdateStatus.Completed)
        return qdrant.PointsOperationResponse(result=done)


class QdrantService(qdrant_pb2_grpc.QdrantServicer):
    """Qdrant's own health check."""

    @served
    def HealthCheck(self, request: qdrant.HealthCheckRequest) -> qdrant.HealthCheckReply:  # noqa: N802
        version = importlib.metadata.version("qdrant-edge-py")
        return qdrant.HealthCheckReply(title="Creditline's local process over Qdrant Edge", version=version)


def _selects_by_filter(selector: qdrant.PointsSelector) -> bool:
    return selector.WhichOneof("points_selector_one_of") == "filter"


def _selected_ids(selector: qdrant.PointsSelector) -> list[Any]:
    if selector.WhichOneof("points_selector_one_of") is None:
        raise InvalidInput("no points are selected: give ids or a filter", field="points")
    return [edge_id(point) for point in selector.points.ids]


def _collection_info(collection: StoredCollection, info: Any) -> qdrant.CollectionInfo:
    created_by, failure = collection.created_by, collection.optimizer_error
    status = qdrant.CollectionStatus.Yellow if collection.is_optimizing else qdrant.CollectionStatus.Green
    return qdrant.CollectionInfo(
        status=status,
        optimizer_status=qdrant.OptimizerStatus(ok=not failure, error=failure),
        segments_count=info.segments_count,
        points_count=info.points_count,
        indexed_vectors_count=info.indexed_vectors_count,
        config=qdrant.CollectionConfig(
            params=qdrant.CollectionParams(vectors_config=created_by.vectors_config, shard_number=1),
            hnsw_config=created_by.hnsw_config,
            optimizer_config=created_by.optimizers_config,
            quantization_config=(
                created_by.quantization_config if created_by.HasField("quantization_config") else None
            ),
            wal_config=qdrant.WalConfigDiff(wal_capacity_mb=32, wal_segments_ahead=0),
        ),
        payload_schema={
            name: qdrant.PayloadSchemaInfo(data_type=_SCHEMA_TYPES[index.data_type], points=index.points)
            for name, index in info.payload_schema.items()
        },
    )
