"""Qdrant's Snapshots service for collections. Restoring is a command (see `storage.snapshots`)."""

from __future__ import annotations

from qdrant_client.grpc import snapshots_service_pb2, snapshots_service_pb2_grpc

from creditline.local.qdrant.api.calls import served
from creditline.local.qdrant.storage.directory import CollectionDirectory
from creditline.local.qdrant.storage.snapshots import Snapshot


class SnapshotsService(snapshots_service_pb2_grpc.SnapshotsServicer):
    """Implements the collection part of `qdrant.Snapshots`: create, list and delete."""

    def __init__(self, directory: CollectionDirectory) -> None:
        self._directory = directory

    @served
    def Create(  # noqa: N802
        self, request: snapshots_service_pb2.CreateSnapshotRequest
    ) -> snapshots_service_pb2.CreateSnapshotResponse:
        collection = self._directory.collection(request.collection_name)
        made = self._directory.snapshots.create(collection)
        return snapshots_service_pb2.CreateSnapshotResponse(snapshot_description=_description(made))

    @served
    def List(  # noqa: N802
        self, request: snapshots_service_pb2.ListSnapshotsRequest
    ) -> snapshots_service_pb2.ListSnapshotsResponse:
        name = self._directory.collection(request.collection_name).directory.name
        found = [_description(snapshot) for snapshot in self._directory.snapshots.list(name)]
        return snapshots_service_pb2.ListSnapshotsResponse(snapshot_descriptions=found)

    @served
    def Delete(  # noqa: N802
        self, request: snapshots_service_pb2.DeleteSnapshotRequest
    ) -> snapshots_service_pb2.DeleteSnapshotResponse:
        name = self._directory.collection(request.collection_name).directory.name
        self._directory.snapshots.delete(name, request.snapshot_name)
        return snapshots_service_pb2.DeleteSnapshotResponse()


def _description(snapshot: Snapshot) -> snapshots_service_pb2.SnapshotDescription:
    message = snapshots_service_pb2.SnapshotDescription(
        name=snapshot.name, size=snapshot.size, checksum=snapshot.checksum
    )
    message.creation_time.FromDatetime(snapshot.created)
    return message
