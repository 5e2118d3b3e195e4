"""Qdrant's Snapshots service for collections. Restoring is a command (see `storage.snapshots`)."""

from __future__ import annotations

from creditline.local.qdrant.api.calls import served
from creditline.local.qdrant.storage.directory import CollectionDirectory
from creditline.local.qdrant.storage.snapshots import Snapshot
from creditline.qdrant_messages import qdrant


class SnapshotsService(qdrant.SnapshotsServicer):
    """Implements the collection part of `qdrant.Snapshots`: create, list and delete."""

    def __init__(self, directory: CollectionDirectory) -> None:
        self._directory = directory

    @served
    def Create(  # noqa: N802
        self, request: qdrant.CreateSnapshotRequest
    ) -> qdrant.CreateSnapshotResponse:
        collection = self._directory.collection(request.collection_name)
        made = self._directory.snapshots.create(collection)
        return qdrant.CreateSnapshotResponse(snapshot_description=_description(made))

    @served
    def List(  # noqa: N802
        self, request: qdrant.ListSnapshotsRequest
    ) -> qdrant.ListSnapshotsResponse:
        name = self._directory.collection(request.collection_name).directory.name
        found = [_description(snapshot) for snapshot in self._directory.snapshots.list(name)]
        return qdrant.ListSnapshotsResponse(snapshot_descriptions=found)

    @served
    def Delete(  # noqa: N802
        self, request: qdrant.DeleteSnapshotRequest
    ) -> qdrant.DeleteSnapshotResponse:
        name = self._directory.collection(request.collection_name).directory.name
        self._directory.snapshots.delete(name, request.snapshot_name)
        return qdrant.DeleteSnapshotResponse()


def _description(snapshot: Snapshot) -> qdrant.SnapshotDescription:
    message = qdrant.SnapshotDescription(name=snapshot.name, size=snapshot.size, checksum=snapshot.checksum)
    message.creation_time.FromDatetime(snapshot.created)
    return message
