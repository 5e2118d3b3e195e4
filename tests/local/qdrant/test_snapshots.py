"""Snapshots of a collection: made while it is in use, restored into another, and interrupted by a kill."""

from __future__ import annotations

import hashlib
import shutil
import signal
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from qdrant_client import QdrantClient, models

from tests.index.works_made_up import unit_vectors
from tests.local.qdrant_process import (
    RunningQdrant,
    connect,
    local_qdrant,
    start_qdrant,
    wait_until_optimized,
)

_WIDTH = 16
_POINTS = 200


def _points(first: int, count: int) -> list[models.PointStruct]:
    vectors = unit_vectors(count, _WIDTH, seed=first)
    return [
        models.PointStruct(id=first + row, vector=vector.tolist(), payload={"row": first + row})
        for row, vector in enumerate(vectors)
    ]


def _fill(client: QdrantClient, name: str, points: int = _POINTS) -> None:
    client.create_collection(
        name,
        vectors_config=models.VectorParams(size=_WIDTH, distance=models.Distance.COSINE),
        optimizers_config=models.OptimizersConfigDiff(indexing_threshold=1),
        shard_number=2,
    )
    client.create_payload_index(name, "row", models.PayloadSchemaType.INTEGER)
    for first in range(0, points, 1_000):
        client.upsert(name, _points(first, min(1_000, points - first)))


def _restore(directory: Path, snapshot: Path, collection: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            *(sys.executable, "-m", "creditline.local.qdrant", "restore", "--directory", str(directory)),
            *("--snapshot", str(snapshot), "--collection", collection),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("qdrant")


@pytest.fixture(scope="module")
def running(directory: Path) -> Iterator[RunningQdrant]:
    with local_qdrant(directory) as process:
        yield process


@pytest.fixture(scope="module")
def client(running: RunningQdrant) -> Iterator[QdrantClient]:
    connected = connect(running)
    _fill(connected, "works")
    yield connected
    connected.close()


def test_a_snapshot_is_listed_with_size_checksum_and_time_until_it_is_deleted(
    client: QdrantClient, directory: Path
) -> None:
    made = client.create_snapshot("works")
    assert made is not None
    path = directory / "snapshots" / "works" / made.name
    assert made.size == path.stat().st_size
    assert made.checksum == hashlib.sha256(path.read_bytes()).hexdigest()
    assert made.creation_time is not None
    assert abs(time.time() - path.stat().st_mtime) < 60
    assert client.list_snapshots("works") == [made]
    client.delete_snapshot("works", made.name)
    assert client.list_snapshots("works") == []
    assert list(path.parent.iterdir()) == []


def test_a_snapshot_that_does_not_exist_cannot_be_deleted(client: QdrantClient) -> None:
    with pytest.raises(grpc.RpcError) as refused:
        client.delete_snapshot("works", "../../aliases.json")
    assert refused.value.code() == grpc.StatusCode.NOT_FOUND


def test_an_owned_directory_is_not_restored_into(
    client: QdrantClient, running: RunningQdrant, directory: Path
) -> None:
    made = client.create_snapshot("works")
    assert made is not None
    refused = _restore(directory, directory / "snapshots" / "works" / made.name, "again")
    assert refused.returncode == 2
    assert f"owned by the running process {running.process.pid}" in refused.stderr
    client.delete_snapshot("works", made.name)


@pytest.mark.heavy
def test_a_restored_collection_is_as_it_was_when_the_snapshot_was_made(tmp_path: Path) -> None:
    with local_qdrant(tmp_path) as first:
        client = connect(first)
        _fill(client, "works")
        client.update_collection("works", hnsw_config=models.HnswConfigDiff(m=24))
        wait_until_optimized(client, "works")
        made = client.create_snapshot("works")
        client.delete("works", points_selector=list(range(100)))
        client.close()
    assert made is not None
    assert _restore(tmp_path, tmp_path / "snapshots" / "works" / made.name, "again").returncode == 0
    with local_qdrant(tmp_path) as second:
        client = connect(second)
        assert (client.count("works").count, client.count("again").count) == (100, _POINTS)
        found = client.get_collection("again")
        assert (found.config.hnsw_config.m, found.config.params.shard_number) == (24, 2)
        assert found.indexed_vectors_count == _POINTS
        assert found.payload_schema["row"].points == _POINTS
        client.upsert("again", _points(1_000, 5))
        assert client.count("again").count == _POINTS + 5
        client.close()


def test_an_existing_collection_is_not_overwritten(tmp_path: Path) -> None:
    with local_qdrant(tmp_path) as first:
        client = connect(first)
        _fill(client, "works")
        made = client.create_snapshot("works")
        client.close()
    assert made is not None
    refused = _restore(tmp_path, tmp_path / "snapshots" / "works" / made.name, "works")
    assert refused.returncode == 2
    assert "exists already" in refused.stderr
    assert "Traceback" not in refused.stderr


@pytest.mark.heavy
@pytest.mark.parametrize("spoiled", ["a byte", "its end", "everything"])
def test_a_damaged_snapshot_is_refused_and_leaves_nothing(tmp_path: Path, spoiled: str) -> None:
    with local_qdrant(tmp_path / "first") as first:
        client = connect(first)
        _fill(client, "works")
        made = client.create_snapshot("works")
        client.close()
    assert made is not None
    path = tmp_path / "first" / "snapshots" / "works" / made.name
    content = bytearray(path.read_bytes())
    match spoiled:
        case "a byte":
            content[len(content) // 2] ^= 1
        case "its end":
            path.with_name(path.name + ".checksum").unlink()  # as a copy without it
            del content[len(content) // 2 :]
        case _:
            path.with_name(path.name + ".checksum").unlink()
            content = bytearray(b"not a snapshot")
    path.write_bytes(content)
    refused = _restore(tmp_path / "second", path, "works")
    assert refused.returncode == 2
    assert "is damaged" in refused.stderr or "is incomplete or damaged" in refused.stderr
    assert "Traceback" not in refused.stderr
    with local_qdrant(tmp_path / "second") as second:
        client = connect(second)
        assert client.get_collections().collections == []
        client.close()


@pytest.mark.parametrize("foreign", ["../outside", "link"])
def test_a_snapshot_with_a_member_that_no_snapshot_has_is_refused(tmp_path: Path, foreign: str) -> None:
    # Python before 3.11.4, such as Debian 12's 3.11.2, has no filter for that (docs.python.org, tarfile).
    snapshot = tmp_path / "made-up.snapshot"
    with tarfile.open(snapshot, "w") as tar:
        member = tarfile.TarInfo(foreign)
        if foreign == "link":
            member.type, member.linkname = tarfile.SYMTYPE, "elsewhere"
        tar.addfile(member)

    refused = _restore(tmp_path / "qdrant", snapshot, "works")

    assert refused.returncode != 0
    assert f"{foreign} is no file or directory of a snapshot" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert not (tmp_path / "qdrant" / "outside").exists()


def test_what_was_acknowledged_before_a_snapshot_is_in_it_and_reads_go_on_meanwhile(tmp_path: Path) -> None:
    with local_qdrant(tmp_path) as running:
        client, writer = connect(running), connect(running)
        _fill(client, "works", 2_000)
        acknowledged, stop = [2_000], threading.Event()

        def write() -> None:
            while not stop.is_set():
                writer.upsert("works", _points(acknowledged[0], 10))
                acknowledged[0] += 10

        writing = threading.Thread(target=write)
        writing.start()
        before = acknowledged[0]
        made = client.create_snapshot("works")
        stop.set()
        writing.join()
        client.close()
        writer.close()
    assert made is not None
    assert _restore(tmp_path, tmp_path / "snapshots" / "works" / made.name, "again").returncode == 0
    with local_qdrant(tmp_path) as second:
        client = connect(second)
        count = client.count("again").count
        assert before <= count <= acknowledged[0]
        ids = {record.id for record in client.scroll("again", limit=100_000)[0]}
        assert set(range(before)) <= ids
        client.close()


def test_a_kill_during_a_snapshot_leaves_no_partial_file_and_loses_nothing(tmp_path: Path) -> None:
    first = start_qdrant(tmp_path)
    client = connect(first)
    _fill(client, "works", 4_000)
    folder = tmp_path / "snapshots" / "works"
    asking = threading.Thread(target=lambda: _ignoring_the_end(client))
    asking.start()
    deadline = time.monotonic() + 30
    while not any(folder.glob(".*.draft/*")):
        assert time.monotonic() < deadline, "no snapshot was begun"
    first.process.send_signal(signal.SIGKILL)
    first.process.wait()
    asking.join()
    client.close()
    with local_qdrant(tmp_path) as second:
        client = connect(second)
        assert client.count("works").count == 4_000
        assert list(folder.glob(".*.draft")) == []
        assert [snapshot.name for snapshot in client.list_snapshots("works")] == [
            found.name for found in folder.glob("*.snapshot")
        ]
        assert client.create_snapshot("works") is not None
        client.close()
    shutil.rmtree(folder)


def _ignoring_the_end(client: QdrantClient) -> None:
    """Ask for a snapshot; the process is killed meanwhile."""
    with pytest.raises(grpc.RpcError):
        client.create_snapshot("works")
