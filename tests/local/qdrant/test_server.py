"""The local Qdrant process as a Qdrant client sees it: durability, errors, aliases, and its end."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import numpy as np
import pytest
from qdrant_client import QdrantClient, models

from creditline.local.services import StackPorts
from tests.index.works_made_up import unit_vectors
from tests.local.qdrant_process import RunningQdrant, local_qdrant, start_qdrant

_WIDTH = 16


def _client(running: RunningQdrant) -> QdrantClient:
    return QdrantClient(host="127.0.0.1", grpc_port=running.port, prefer_grpc=True, check_compatibility=False)


def _make_collection(client: QdrantClient, name: str) -> None:
    params = models.VectorParams(size=_WIDTH, distance=models.Distance.COSINE)
    client.create_collection(name, vectors_config=params)


def _points(first: int, count: int) -> list[models.PointStruct]:
    vectors = unit_vectors(count, _WIDTH, seed=first)
    return [
        models.PointStruct(id=first + row, vector=vector.tolist(), payload={"row": first + row})
        for row, vector in enumerate(vectors)
    ]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningQdrant]:
    with local_qdrant(tmp_path_factory.mktemp("qdrant")) as process:
        yield process


@pytest.fixture(scope="module")
def client(running: RunningQdrant) -> Iterator[QdrantClient]:
    connected = _client(running)
    _make_collection(connected, "works")
    connected.upsert("works", _points(0, 50))
    yield connected
    connected.close()


def test_points_acknowledged_before_a_kill_are_there_after_it(tmp_path: Path) -> None:
    first = start_qdrant(tmp_path)
    client = _client(first)
    _make_collection(client, "works")
    client.create_payload_index("works", "row", models.PayloadSchemaType.INTEGER)
    client.update_collection_aliases(
        [
            models.CreateAliasOperation(
                create_alias=models.CreateAlias(collection_name="works", alias_name="live")
            )
        ]
    )
    for batch in range(5):
        client.upsert("works", _points(batch * 20, 20))
    client.delete("works", points_selector=[3])
    first.process.send_signal(signal.SIGKILL)
    first.process.wait()
    client.close()

    with local_qdrant(tmp_path) as second:
        client = _client(second)
        assert client.count("live").count == 99
        only = models.Filter(must=[models.FieldCondition(key="row", match=models.MatchValue(value=77))])
        (found,) = client.query_points("works", _points(60, 20)[17].vector, query_filter=only).points
        assert found.score == pytest.approx(1.0, abs=1e-5)
        assert client.get_collection("works").payload_schema["row"].data_type == "integer"
        client.close()


def _filled_and_stopped(directory: Path) -> RunningQdrant:
    """The data directory of a process that stored ten works and was then stopped."""
    with local_qdrant(directory) as running:
        client = _client(running)
        _make_collection(client, "works")
        client.upsert("works", _points(0, 10))
        client.close()
    return running


def test_a_graceful_stop_ends_with_status_zero_and_keeps_everything(tmp_path: Path) -> None:
    assert _filled_and_stopped(tmp_path).process.returncode == 0
    with local_qdrant(tmp_path) as again:
        client = _client(again)
        assert client.count("works").count == 10
        client.close()


def _as_the_first_version_kept_it(collection: Path) -> None:
    """One shard in the collection's own directory, without a number."""
    (collection / "0" / "shard-000001").rename(collection / "shard")
    (collection / "0" / "current").unlink()
    (collection / "0").rmdir()


def _as_the_second_version_kept_it(collection: Path) -> None:
    """One numbered shard in the collection's own directory."""
    for name in ("shard-000001", "current"):
        (collection / "0" / name).rename(collection / name)
    (collection / "0").rmdir()


@pytest.mark.parametrize("age", [_as_the_first_version_kept_it, _as_the_second_version_kept_it])
def test_a_collection_made_before_there_were_several_shards_is_kept(
    tmp_path: Path, age: Callable[[Path], None]
) -> None:
    _filled_and_stopped(tmp_path)
    collection = tmp_path / "collections" / "works"
    age(collection)
    with local_qdrant(tmp_path) as again:
        client = _client(again)
        assert client.count("works").count == 10
        _start_optimizing(client, "works")
        _wait_until_optimized(client, "works")
        assert client.count("works").count == 10
        client.close()
    assert {found.name for found in collection.iterdir()} == {"0", "collection.json"}
    assert len([found for found in (collection / "0").iterdir() if found.is_dir()]) == 1


def test_a_second_process_is_refused_the_same_directory_by_the_owners_pid(tmp_path: Path) -> None:
    with local_qdrant(tmp_path) as owner:
        second = subprocess.run(
            [
                *(sys.executable, "-m", "creditline.local.qdrant"),
                *("--directory", str(tmp_path), "--grpc-port", str(StackPorts.free().qdrant)),
            ],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert second.returncode == 2
        assert f"owned by the running process {owner.process.pid}" in second.stderr
        assert "Traceback" not in second.stderr


def test_a_taken_port_is_reported(running: RunningQdrant, tmp_path: Path) -> None:
    second = subprocess.run(
        [
            *(sys.executable, "-m", "creditline.local.qdrant"),
            *("--directory", str(tmp_path), "--grpc-port", str(running.port)),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert second.returncode == 2
    assert f"error: port {running.port} on 127.0.0.1 cannot be bound" in second.stderr


def test_a_collection_that_a_crash_left_half_made_does_not_keep_the_rest_from_starting(
    tmp_path: Path,
) -> None:
    (tmp_path / "collections" / "half" / "shard").mkdir(parents=True)
    with local_qdrant(tmp_path) as running:
        client = _client(running)
        _make_collection(client, "half")
        assert client.count("half").count == 0
        client.close()


def test_a_vector_with_nan_rejects_its_whole_batch(client: QdrantClient) -> None:
    batch = _points(1_000, 3)
    batch[2].vector = [float("nan")] * _WIDTH
    with pytest.raises(grpc.RpcError) as refused:
        client.upsert("works", batch)
    assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert "not finite" in refused.value.details()
    assert client.count("works").count == 50


def test_a_filter_on_a_bool_is_refused_because_edge_would_match_nothing(client: QdrantClient) -> None:
    condition = models.FieldCondition(key="withdrawn", match=models.MatchValue(value=False))
    with pytest.raises(grpc.RpcError) as refused:
        client.count("works", count_filter=models.Filter(must=[condition]))
    assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert "integer 0 or 1" in refused.value.details()


def test_an_unsupported_call_is_named_with_the_remedy(client: QdrantClient) -> None:
    with pytest.raises(grpc.RpcError) as refused:
        client.search_matrix_pairs("works")
    assert refused.value.code() == grpc.StatusCode.UNIMPLEMENTED
    assert "Points/SearchMatrixPairs" in refused.value.details()
    assert "run a Qdrant server" in refused.value.details()


def test_an_unsupported_query_is_named_and_not_answered_in_part(client: QdrantClient) -> None:
    with pytest.raises(grpc.RpcError) as refused:
        client.query_points("works", query=models.SampleQuery(sample=models.Sample.RANDOM))
    assert refused.value.code() == grpc.StatusCode.UNIMPLEMENTED
    assert "sample" in refused.value.details()


@pytest.mark.parametrize("name", ["../outside", ".hidden", "with space", ""])
def test_a_name_that_cannot_be_a_directory_is_refused(client: QdrantClient, name: str) -> None:
    with pytest.raises(grpc.RpcError) as refused:
        _make_collection(client, name)
    assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT


def test_creating_a_collection_twice_is_refused(client: QdrantClient) -> None:
    with pytest.raises(grpc.RpcError) as refused:
        _make_collection(client, "works")
    assert refused.value.code() == grpc.StatusCode.ALREADY_EXISTS


def _point_at(collection: str, alias: str = "current") -> models.CreateAliasOperation:
    return models.CreateAliasOperation(
        create_alias=models.CreateAlias(collection_name=collection, alias_name=alias)
    )


def _delete_alias(alias: str) -> models.DeleteAliasOperation:
    return models.DeleteAliasOperation(delete_alias=models.DeleteAlias(alias_name=alias))


def _aliases(client: QdrantClient) -> dict[str, str]:
    return {found.alias_name: found.collection_name for found in client.get_aliases().aliases}


@pytest.fixture
def old_and_new(client: QdrantClient) -> Iterator[None]:
    """Two collections, of which `new` holds four points and `old` none."""
    for name in ("old", "new"):
        _make_collection(client, name)
    client.upsert("new", _points(0, 4))
    yield
    for name in ("old", "new"):
        client.delete_collection(name)


@pytest.mark.usefixtures("old_and_new")
def test_a_created_alias_overwrites_one_of_that_name(client: QdrantClient) -> None:
    client.update_collection_aliases([_point_at("old")])
    assert client.count("current").count == 0
    client.update_collection_aliases([_point_at("new")])
    assert client.count("current").count == 4


@pytest.mark.usefixtures("old_and_new")
def test_an_alias_keeps_its_target_when_its_creation_is_refused(client: QdrantClient) -> None:
    client.update_collection_aliases([_point_at("new")])
    with pytest.raises(grpc.RpcError) as refused:
        client.update_collection_aliases([_point_at("nowhere")])
    assert refused.value.code() == grpc.StatusCode.NOT_FOUND
    with pytest.raises(grpc.RpcError) as taken:
        client.update_collection_aliases([_point_at("new", alias="old")])
    assert taken.value.code() == grpc.StatusCode.ALREADY_EXISTS
    assert _aliases(client) == {"current": "new"}


@pytest.mark.usefixtures("old_and_new")
def test_actions_before_a_rejected_alias_action_stay_in_force(client: QdrantClient) -> None:
    client.update_collection_aliases([_point_at("new")])
    with pytest.raises(grpc.RpcError):
        client.update_collection_aliases(
            [_point_at("old", alias="other"), _delete_alias("current"), _point_at("nowhere")]
        )
    assert _aliases(client) == {"other": "old"}


@pytest.mark.usefixtures("old_and_new")
def test_deleting_an_alias_that_does_not_exist_has_no_effect(client: QdrantClient) -> None:
    client.update_collection_aliases([_delete_alias("never-made"), _point_at("new")])
    assert _aliases(client) == {"current": "new"}


@pytest.mark.usefixtures("old_and_new")
def test_deleting_a_collection_deletes_its_aliases(client: QdrantClient) -> None:
    client.update_collection_aliases([_point_at("new"), _point_at("old", alias="other")])
    client.delete_collection("new")
    assert _aliases(client) == {"other": "old"}


@pytest.mark.parametrize(
    ("saved", "left"), [(1, {"a": "old"}), (2, {"a": "old", "b": "old"}), (3, {"a": "old"})]
)
def test_alias_actions_are_saved_one_by_one_so_that_a_kill_leaves_some_of_them(
    tmp_path: Path, saved: int, left: dict[str, str]
) -> None:
    with local_qdrant(tmp_path, kill_after_alias_actions=saved) as killed:
        client = _client(killed)
        _make_collection(client, "old")
        actions = [_point_at("old", alias="a"), _point_at("old", alias="b"), _delete_alias("b")]
        with pytest.raises(grpc.RpcError):
            client.update_collection_aliases([*actions, _point_at("old", alias="c")])
        assert killed.process.wait(60) == -signal.SIGKILL
        client.close()
    assert json.loads((tmp_path / "aliases.json").read_text()) == left


def test_a_change_of_metadata_alone_does_not_start_the_optimizer(client: QdrantClient) -> None:
    before = client.get_collection("works").segments_count
    client.update_collection("works", metadata={"kept": "yes"})
    found = client.get_collection("works")
    assert (found.config.metadata, found.segments_count) == ({"kept": "yes"}, before)
    assert found.status == models.CollectionStatus.GREEN


def test_scrolling_visits_every_point_once(client: QdrantClient) -> None:
    seen: list[int] = []
    offset = None
    while True:
        page, offset = client.scroll("works", limit=7, offset=offset, with_payload=["row"])
        seen += [point.payload["row"] for point in page if point.payload]
        if offset is None:
            break
    assert seen == list(range(50))


def test_payload_values_and_uuids_come_back_as_they_went_in(client: QdrantClient) -> None:
    payload = {"text": "é", "whole": 3, "part": 0.5, "none": None, "list": [1, "b"], "deep": {"x": [True]}}
    identity = str(uuid.uuid5(uuid.NAMESPACE_URL, "kept"))
    _make_collection(client, "kept")
    client.upsert("kept", [models.PointStruct(id=identity, vector=[1.0] * _WIDTH, payload=payload)])
    (found,) = client.retrieve("kept", [identity], with_vectors=True)
    assert (found.id, found.payload) == (identity, payload)
    np.testing.assert_allclose(found.vector, np.full(_WIDTH, 0.25), atol=1e-6)
    client.delete_collection("kept")


def _make_graph_collection(client: QdrantClient, name: str, points: int) -> None:
    client.create_collection(
        name,
        vectors_config=models.VectorParams(size=_WIDTH, distance=models.Distance.COSINE),
        hnsw_config=models.HnswConfigDiff(full_scan_threshold=10),
        optimizers_config=models.OptimizersConfigDiff(indexing_threshold=1),
    )
    for first in range(0, points, 2_000):
        client.upsert(name, _points(first, min(2_000, points - first)))


def _start_optimizing(client: QdrantClient, name: str) -> None:
    client.update_collection(name, optimizers_config=models.OptimizersConfigDiff())


def _is_optimizing(client: QdrantClient, name: str) -> bool:
    return client.get_collection(name).status != models.CollectionStatus.GREEN


def _wait_until_optimized(client: QdrantClient, name: str) -> None:
    deadline = time.monotonic() + 120.0
    while _is_optimizing(client, name):
        assert time.monotonic() < deadline, "the optimizer did not end"
        time.sleep(0.02)


def test_the_graph_is_built_when_asked_for(client: QdrantClient) -> None:
    _make_graph_collection(client, "graph", 600)
    assert client.get_collection("graph").indexed_vectors_count == 0
    _start_optimizing(client, "graph")
    _wait_until_optimized(client, "graph")
    assert client.get_collection("graph").indexed_vectors_count == 600
    client.delete_collection("graph")


def test_while_the_graph_is_built_queries_are_answered_and_writes_are_kept(client: QdrantClient) -> None:
    _make_graph_collection(client, "busy", 6_000)
    _start_optimizing(client, "busy")
    answered, written = 0, 6_000
    vector = unit_vectors(1, _WIDTH, seed=7)[0].tolist()
    while _is_optimizing(client, "busy"):
        assert len(client.query_points("busy", query=vector, limit=5).points) == 5
        client.upsert("busy", _points(written, 1))
        client.delete("busy", points_selector=[written - 6_000])
        answered, written = answered + 1, written + 1
    assert answered > 0
    assert client.get_collection("busy").optimizer_status == models.OptimizersStatusOneOf.OK
    assert client.count("busy").count == 6_000
    assert len(client.retrieve("busy", list(range(6_000, written)))) == answered
    assert not client.retrieve("busy", list(range(answered)))
    assert client.get_collection("busy").indexed_vectors_count >= 6_000 - answered
    client.delete_collection("busy")


def test_a_kill_while_the_graph_is_built_loses_nothing_and_leaves_nothing_behind(tmp_path: Path) -> None:
    first = start_qdrant(tmp_path)
    client = _client(first)
    _make_graph_collection(client, "works", 6_000)
    _start_optimizing(client, "works")
    client.upsert("works", _points(6_000, 1))
    assert _is_optimizing(client, "works")
    first.process.kill()
    first.process.wait(30)
    client.close()
    second = start_qdrant(tmp_path)
    try:
        again = _client(second)
        assert again.count("works").count == 6_001
        assert (
            len([found for found in (tmp_path / "collections" / "works" / "0").iterdir() if found.is_dir()])
            == 1
        )
        _start_optimizing(again, "works")
        _wait_until_optimized(again, "works")
        assert again.get_collection("works").indexed_vectors_count == 6_001
        again.close()
    finally:
        second.process.terminate()
        assert second.process.wait(30) == 0


def test_a_stop_while_the_graph_is_built_does_not_wait_for_it(tmp_path: Path) -> None:
    running = start_qdrant(tmp_path)
    client = _client(running)
    _make_graph_collection(client, "works", 6_000)
    _start_optimizing(client, "works")
    client.close()
    running.process.terminate()
    assert running.process.wait(20) == 0


def test_a_collection_dropped_while_its_graph_is_built_is_gone(client: QdrantClient) -> None:
    _make_graph_collection(client, "dropped", 6_000)
    _start_optimizing(client, "dropped")
    client.delete_collection("dropped")
    assert not client.collection_exists("dropped")
    _make_graph_collection(client, "dropped", 10)
    assert client.count("dropped").count == 10
    client.delete_collection("dropped")


def test_metrics_count_calls_by_method_and_status(client: QdrantClient, running: RunningQdrant) -> None:
    client.count("works")
    with urllib.request.urlopen(f"http://127.0.0.1:{running.metrics_port}/metrics", timeout=5) as answer:
        text = answer.read().decode()
    assert 'creditline_local_qdrant_calls_total{code="OK",method="Count"}' in text
