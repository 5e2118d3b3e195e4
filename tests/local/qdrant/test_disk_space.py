"""A full disk: writes are rejected, acknowledged points are kept, and writes go on once space is free."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from qdrant_client import QdrantClient, models

from creditline.local.qdrant.storage.disk_space import RESERVE_BYTES
from tests.index.works_made_up import unit_vectors
from tests.local.qdrant_process import connect, local_qdrant

_WIDTH = 256
_MEGABYTE = 1024 * 1024
# Space for a collection and some thousand points above the reserve.
_DISK_MEGABYTES = RESERVE_BYTES // _MEGABYTE + 180


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A separate file system, which only root can create."""
    disk = tmp_path / "disk"
    disk.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={_DISK_MEGABYTES}m", "tmpfs", str(disk)],
        capture_output=True,
        check=False,
    )
    if made.returncode != 0:
        pytest.skip(f"no small file system can be mounted here: {made.stderr.decode().strip()}")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def _batch(first: int, count: int = 200) -> list[models.PointStruct]:
    vectors = unit_vectors(count, _WIDTH, seed=first)
    return [
        models.PointStruct(id=first + row, vector=vector.tolist(), payload={"text": "x" * 500})
        for row, vector in enumerate(vectors)
    ]


def _fill_until_refused(client: QdrantClient) -> tuple[int, grpc.RpcError]:
    """Number of acknowledged points, and the error that ended the writes."""
    for written in range(0, 1_000_000, 200):
        try:
            client.upsert("works", _batch(written))
        except grpc.RpcError as refused:
            return written, refused
    raise AssertionError("the disk was never full")


@pytest.mark.heavy
def test_a_full_disk_rejects_writes_keeps_its_points_and_recovers(small_disk: Path) -> None:
    with local_qdrant(small_disk / "qdrant") as running:
        client = connect(running)
        client.create_collection(
            "works", vectors_config=models.VectorParams(size=_WIDTH, distance=models.Distance.COSINE)
        )
        ballast = small_disk / "ballast"
        ballast.write_bytes(b"x" * 40 * _MEGABYTE)
        written, refused = _fill_until_refused(client)
        assert written > 0
        assert refused.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "MB left; nothing was changed, free disk space first" in refused.details()
        assert client.count("works").count == written
        query = unit_vectors(1, _WIDTH, seed=0)[0].tolist()
        assert client.query_points("works", query, limit=1).points[0].id == 0
        client.delete("works", points_selector=[0])  # what makes things fewer is still allowed
        ballast.unlink()
        client.upsert("works", _batch(written))
        client.close()
    with local_qdrant(small_disk / "qdrant") as again:
        client = connect(again)
        assert client.count("works").count == written + 199
        client.close()


@pytest.mark.heavy
def test_an_optimization_without_disk_space_is_reported_and_changes_nothing(small_disk: Path) -> None:
    with local_qdrant(small_disk / "qdrant") as running:
        client = connect(running)
        client.create_collection(
            "works", vectors_config=models.VectorParams(size=_WIDTH, distance=models.Distance.COSINE)
        )
        written, _ = _fill_until_refused(client)
        client.update_collection("works", optimizers_config=models.OptimizersConfigDiff(indexing_threshold=1))
        while (found := client.get_collection("works")).status != models.CollectionStatus.GREEN:
            pass
        assert "an optimization needs" in str(found.optimizer_status)
        assert client.count("works").count == written
        client.close()
