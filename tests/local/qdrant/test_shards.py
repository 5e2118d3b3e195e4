"""A collection of several shards: merged results, optimization shard by shard, and no loss by a kill."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from qdrant_client import QdrantClient, models
from qdrant_client import grpc as qdrant

from creditline.local.qdrant.translation.merging import shard_of
from tests.index.works_made_up import unit_vectors
from tests.local.qdrant_process import (
    RunningQdrant,
    connect,
    local_qdrant,
    start_qdrant,
    wait_until_optimized,
)

_WIDTH = 16
_SHARDS = 2
_POINTS = 500


def _points(first: int, count: int) -> list[models.PointStruct]:
    vectors = unit_vectors(count, _WIDTH, seed=first)
    return [
        models.PointStruct(id=first + row, vector=vector.tolist(), payload={"row": first + row})
        for row, vector in enumerate(vectors)
    ]


def _make(client: QdrantClient, name: str, shards: int = _SHARDS) -> None:
    client.create_collection(
        name,
        vectors_config=models.VectorParams(size=_WIDTH, distance=models.Distance.COSINE),
        hnsw_config=models.HnswConfigDiff(full_scan_threshold=10),
        optimizers_config=models.OptimizersConfigDiff(indexing_threshold=1),
        shard_number=shards,
    )


def _directories_of_shards(directory: Path, name: str) -> dict[str, list[str]]:
    """Edge's directories of each shard."""
    homes = [home for home in (directory / "collections" / name).iterdir() if home.is_dir()]
    return {home.name: [found.name for found in home.iterdir() if found.is_dir()] for home in homes}


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
    _make(connected, "works")
    connected.upsert("works", _points(0, _POINTS))
    yield connected
    connected.close()


def test_points_are_spread_evenly_and_always_over_the_same_shards() -> None:
    for shards in (2, 3, 7):
        counts = np.bincount([shard_of(point, shards) for point in range(10_000)], minlength=shards)
        assert counts.min() > 0.95 * 10_000 / shards
    assert [shard_of(point, 4) for point in (0, 1, 2, 1_000_000_007, 2**64 - 1)] == [0, 2, 0, 0, 1]


def test_all_shards_are_reported_with_their_points(client: QdrantClient) -> None:
    assert client.get_collection("works").config.params.shard_number == _SHARDS
    assert client.get_collection("works").points_count == _POINTS
    info = client.grpc_collections.CollectionClusterInfo(
        qdrant.CollectionClusterInfoRequest(collection_name="works")
    )
    counts = [shard.points_count for shard in info.local_shards]
    assert (len(counts), sum(counts)) == (_SHARDS, _POINTS)
    assert min(counts) > 0


def test_the_best_of_all_shards_come_in_order_page_by_page(client: QdrantClient) -> None:
    query = unit_vectors(1, _WIDTH, seed=99)[0]
    cosines = unit_vectors(_POINTS, _WIDTH, seed=0) @ query
    expected = np.argsort(-cosines)[:60].tolist()
    pages = [
        [point.id for point in client.query_points("works", query.tolist(), limit=20, offset=offset).points]
        for offset in (0, 20, 40)
    ]
    assert [*pages[0], *pages[1], *pages[2]] == expected


def test_equal_scores_come_in_the_order_of_their_ids(client: QdrantClient) -> None:
    _make(client, "equal", shards=3)
    same = unit_vectors(1, _WIDTH)[0].tolist()
    client.upsert("equal", [models.PointStruct(id=number, vector=same) for number in range(12)])
    found = client.query_points("equal", same, limit=8).points
    assert [point.id for point in found] == list(range(8))
    client.delete_collection("equal")


def test_scrolling_visits_every_point_of_every_shard_once(client: QdrantClient) -> None:
    seen: list[int] = []
    offset = None
    while True:
        page, offset = client.scroll("works", limit=7, offset=offset)
        seen += [record.id for record in page]
        if offset is None:
            break
    assert seen == list(range(_POINTS))


def test_records_come_in_the_order_in_which_they_were_asked_for(client: QdrantClient) -> None:
    wanted = [400, 3, 77, 10_000, 4]
    assert [record.id for record in client.retrieve("works", wanted)] == [400, 3, 77, 4]


def test_a_batch_with_one_bad_vector_changes_no_shard(client: QdrantClient) -> None:
    batch = _points(5_000, 20)
    batch[13].vector = [1.0] * (_WIDTH - 1)
    with pytest.raises(Exception, match="expected dim: 16, got 15"):
        client.upsert("works", batch)
    assert client.count("works").count == _POINTS


def test_only_the_shard_that_changed_is_built_again(client: QdrantClient, directory: Path) -> None:
    _make(client, "built")
    client.upsert("built", _points(0, _POINTS))
    client.update_collection("built", optimizers_config=models.OptimizersConfigDiff())
    wait_until_optimized(client, "built")
    assert client.get_collection("built").indexed_vectors_count == _POINTS
    before = _directories_of_shards(directory, "built")
    client.upsert("built", _points(7_000, 1))
    client.update_collection("built", optimizers_config=models.OptimizersConfigDiff())
    wait_until_optimized(client, "built")
    after = _directories_of_shards(directory, "built")
    changed = str(shard_of(7_000, _SHARDS))
    assert {number for number in before if before[number] != after[number]} == {changed}
    assert client.count("built").count == _POINTS + 1
    client.delete_collection("built")


def test_a_few_updates_made_while_the_graph_is_built_are_kept(client: QdrantClient, directory: Path) -> None:
    """The updates are few enough to be replayed while writers wait, without an earlier round."""
    _make(client, "late", shards=1)
    for first in range(0, 6_000, 2_000):
        client.upsert("late", _points(first, 2_000))
    client.update_collection("late", optimizers_config=models.OptimizersConfigDiff())
    deadline = time.monotonic() + 60
    while len(_directories_of_shards(directory, "late")["0"]) < 2:
        assert time.monotonic() < deadline, "no copy was begun"
    client.upsert("late", _points(6_000, 3))
    client.delete("late", points_selector=[17])
    client.set_payload("late", {"row": -1}, points=[18])
    assert client.get_collection("late").status != models.CollectionStatus.GREEN
    wait_until_optimized(client, "late")
    assert client.get_collection("late").indexed_vectors_count >= 5_999
    assert client.count("late").count == 6_002
    found = client.retrieve("late", [17, 18, 6_002])
    assert [(record.id, record.payload) for record in found] == [(18, {"row": -1}), (6_002, {"row": 6_002})]
    client.delete_collection("late")


def test_a_kill_loses_nothing_of_any_shard(tmp_path: Path) -> None:
    first = start_qdrant(tmp_path)
    client = connect(first)
    _make(client, "works")
    client.create_payload_index("works", "row", models.PayloadSchemaType.INTEGER)
    for batch in range(10):
        client.upsert("works", _points(batch * 30, 30))
    client.set_payload("works", {"row": -1}, points=[5, 6])
    client.delete("works", points_selector=[7, 8, 9])
    first.process.send_signal(signal.SIGKILL)
    first.process.wait()
    client.close()
    with local_qdrant(tmp_path) as second:
        client = connect(second)
        assert client.count("works").count == 297
        rows = [record.payload["row"] for record in client.retrieve("works", [4, 5, 6, 7]) if record.payload]
        assert rows == [4, -1, -1]
        client.close()


def test_a_kill_while_shards_are_optimized_loses_nothing(tmp_path: Path) -> None:
    first = start_qdrant(tmp_path)
    client = connect(first)
    _make(client, "works")
    for batch in range(4):
        client.upsert("works", _points(batch * 2_000, 2_000))
    client.update_collection("works", optimizers_config=models.OptimizersConfigDiff())
    client.upsert("works", _points(8_000, 10))
    first.process.send_signal(signal.SIGKILL)
    first.process.wait()
    client.close()
    with local_qdrant(tmp_path) as second:
        client = connect(second)
        assert client.count("works").count == 8_010
        assert {len(found) for found in _directories_of_shards(tmp_path, "works").values()} == {1}
        client.close()


def test_a_narrow_filter_does_not_end_in_a_dead_end_of_the_graph(client: QdrantClient) -> None:
    """Few links, and one point in ten passes: by plain graph search 5 % of the nearest are found."""
    width, count, every = 32, 3_000, 10
    client.create_collection(
        "narrow",
        vectors_config=models.VectorParams(size=width, distance=models.Distance.COSINE),
        hnsw_config=models.HnswConfigDiff(m=4, ef_construct=32, full_scan_threshold=1),
        optimizers_config=models.OptimizersConfigDiff(indexing_threshold=1),
    )
    client.create_payload_index(
        "narrow", "rare", models.IntegerIndexParams(type="integer", enable_hnsw=False)
    )
    vectors = unit_vectors(count, width)
    client.upsert(
        "narrow",
        [
            models.PointStruct(id=row, vector=vector.tolist(), payload={"rare": int(row % every == 0)})
            for row, vector in enumerate(vectors)
        ],
    )
    client.update_collection("narrow", optimizers_config=models.OptimizersConfigDiff())
    wait_until_optimized(client, "narrow")
    rare = np.arange(0, count, every)
    passes = models.Filter(must=[models.FieldCondition(key="rare", match=models.MatchValue(value=1))])
    hits = 0
    for query in unit_vectors(50, width, seed=3):
        found = client.query_points(
            "narrow",
            query.tolist(),
            query_filter=passes,
            limit=10,
            search_params=models.SearchParams(hnsw_ef=128),
        ).points
        assert len(found) == 10
        hits += len(
            {point.id for point in found} & set(rare[np.argsort(-(vectors[rare] @ query))[:10]].tolist())
        )
    assert hits / 500 > 0.85
    client.delete_collection("narrow")
