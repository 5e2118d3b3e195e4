"""Qdrant's Collections service: collections, their settings, and aliases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import qdrant_edge as edge

from creditline.local.qdrant.api.calls import served
from creditline.local.qdrant.storage.collection import StoredCollection
from creditline.local.qdrant.storage.directory import CollectionDirectory
from creditline.local.qdrant.translation.field_indexes import schema_info
from creditline.qdrant_messages import qdrant

# Id of the only peer.
_PEER = 1


class CollectionsService(qdrant.CollectionsServicer):
    """Implements `qdrant.Collections`; `calls` turns the CreditlineErrors of its methods into statuses."""

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
        """Changes the given settings and starts the optimizer."""
        self._directory.collection(request.collection_name).update_settings(request)
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
        return qdrant.GetCollectionInfoResponse(result=_collection_info(collection))

    @served
    def CollectionClusterInfo(  # noqa: N802
        self, request: qdrant.CollectionClusterInfoRequest
    ) -> qdrant.CollectionClusterInfoResponse:
        """Reports all shards as local and active."""
        points = self._directory.collection(request.collection_name).points_of_shards
        shards = [
            qdrant.LocalShardInfo(shard_id=number, points_count=count, state=qdrant.ReplicaState.Active)
            for number, count in enumerate(points)
        ]
        return qdrant.CollectionClusterInfoResponse(
            peer_id=_PEER, shard_count=len(shards), local_shards=shards
        )

    @served
    def UpdateAliases(self, request: qdrant.ChangeAliases) -> qdrant.CollectionOperationResponse:  # noqa: N802
        self._directory.change_aliases(request.actions)
        return qdrant.CollectionOperationResponse(result=True)

    @served
    def ListAliases(self, request: qdrant.ListAliasesRequest) -> qdrant.ListAliasesResponse:  # noqa: N802
        return qdrant.ListAliasesResponse(aliases=self._aliases_of(None))

    @served
    def ListCollectionAliases(  # noqa: N802
        self, request: qdrant.ListCollectionAliasesRequest
    ) -> qdrant.ListAliasesResponse:
        return qdrant.ListAliasesResponse(aliases=self._aliases_of(request.collection_name))

    def _aliases_of(self, collection: str | None) -> list[qdrant.AliasDescription]:
        """The aliases of one collection; None: all aliases."""
        return [
            qdrant.AliasDescription(alias_name=alias, collection_name=target)
            for alias, target in sorted(self._directory.aliases().items())
            if collection in (None, target)
        ]


def _collection_info(collection: StoredCollection) -> qdrant.CollectionInfo:
    infos, failure = collection.infos(), collection.optimizer_error
    status = qdrant.CollectionStatus.Yellow if collection.is_optimizing else qdrant.CollectionStatus.Green
    return qdrant.CollectionInfo(
        status=status,
        optimizer_status=qdrant.OptimizerStatus(ok=not failure, error=failure),
        segments_count=sum(info.segments_count for info in infos),
        points_count=sum(info.points_count for info in infos),
        indexed_vectors_count=sum(info.indexed_vectors_count for info in infos),
        config=_collection_config(collection.settings),
        payload_schema=_payload_schema([info.payload_schema for info in infos]),
    )


def _collection_config(settings: qdrant.CreateCollection) -> qdrant.CollectionConfig:
    return qdrant.CollectionConfig(
        params=qdrant.CollectionParams(
            vectors_config=settings.vectors_config,
            shard_number=settings.shard_number,
            replication_factor=1,
            write_consistency_factor=1,
            on_disk_payload=settings.on_disk_payload if settings.HasField("on_disk_payload") else True,
            payload=settings.payload if settings.HasField("payload") else None,
            id_tracker=settings.id_tracker if settings.HasField("id_tracker") else None,
        ),
        hnsw_config=settings.hnsw_config,
        optimizer_config=settings.optimizers_config,
        quantization_config=(
            settings.quantization_config if settings.HasField("quantization_config") else None
        ),
        wal_config=qdrant.WalConfigDiff(wal_capacity_mb=32, wal_segments_ahead=0),
        metadata=settings.metadata,
    )


def _payload_schema(
    schemas: Sequence[Mapping[str, edge.PayloadIndexInfo]],
) -> dict[str, qdrant.PayloadSchemaInfo]:
    """The indexes with their points of all shards; every shard has the same indexes."""
    merged = {name: schema_info(index) for name, index in schemas[0].items()}
    for schema in schemas[1:]:
        for name, index in schema.items():
            merged[name].points += index.points
    return merged
