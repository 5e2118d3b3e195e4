"""A collection's settings reach Qdrant Edge, are reported, can be changed, and are rejected by name."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from qdrant_client import QdrantClient, models
from qdrant_client import grpc as qdrant

from tests.index.works_made_up import unit_vectors
from tests.local.qdrant_process import RunningQdrant, connect, local_qdrant, wait_until_optimized

_DIMENSION = 16
_POINTS = 400
_NUMBERS = itertools.count()


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
    yield connected
    connected.close()


@pytest.fixture
def name(client: QdrantClient) -> Iterator[str]:
    unused = f"collection-{next(_NUMBERS)}"
    yield unused
    client.delete_collection(unused)


def _vectors(**more: Any) -> models.VectorParams:
    return models.VectorParams(size=_DIMENSION, distance=models.Distance.COSINE, **more)


def _fill(client: QdrantClient, name: str) -> np.ndarray:
    """The stored vectors: (_POINTS, _DIMENSION) float32."""
    vectors = unit_vectors(_POINTS, _DIMENSION)
    points = [models.PointStruct(id=row, vector=vector.tolist()) for row, vector in enumerate(vectors)]
    client.upsert(name, points)
    return vectors


def _optimize(client: QdrantClient, name: str, **changes: Any) -> None:
    changes.setdefault("optimizers_config", models.OptimizersConfigDiff(indexing_threshold=1))
    client.update_collection(name, **changes)
    wait_until_optimized(client, name)
    assert client.get_collection(name).optimizer_status == models.OptimizersStatusOneOf.OK


def _segment(directory: Path, name: str) -> dict[str, Any]:
    """Edge's configuration of the vectors in the segment that has a graph."""
    home = directory / "collections" / name / "0"
    shard = home / (home / "current").read_text()
    for file in shard.glob("segments/*/segment.json"):
        vector: dict[str, Any] = json.loads(file.read_text())["config"]["vector_data"][""]
        if vector["index"]["type"] == "hnsw":
            return vector
    raise AssertionError("no segment has a graph")


_QUANTIZATIONS = {
    "int8": models.ScalarQuantization(
        scalar=models.ScalarQuantizationConfig(type=models.ScalarType.INT8, quantile=0.99, always_ram=True)
    ),
    "binary": models.BinaryQuantization(binary=models.BinaryQuantizationConfig(always_ram=True)),
    "binary of two bits": models.BinaryQuantization(
        binary=models.BinaryQuantizationConfig(encoding=models.BinaryQuantizationEncoding.TWO_BITS)
    ),
    "turboquant": models.TurboQuantization(
        turbo=models.TurboQuantQuantizationConfig(bits=models.TurboQuantBitSize.BITS4)
    ),
    "product": models.ProductQuantization(
        product=models.ProductQuantizationConfig(compression=models.CompressionRatio.X4)
    ),
}


@pytest.mark.heavy
@pytest.mark.parametrize("quantization", _QUANTIZATIONS.values(), ids=_QUANTIZATIONS.keys())
def test_every_quantization_finds_the_nearest_points(
    client: QdrantClient, directory: Path, name: str, quantization: Any
) -> None:
    client.create_collection(name, vectors_config=_vectors(), quantization_config=quantization)
    vectors = _fill(client, name)
    _optimize(client, name)
    assert type(client.get_collection(name).config.quantization_config) is type(quantization)
    assert _segment(directory, name)["quantization_config"] is not None
    rescored = models.SearchParams(
        hnsw_ef=200, quantization=models.QuantizationSearchParams(rescore=True, oversampling=8.0)
    )
    for row in range(0, _POINTS, 40):
        (best,) = client.query_points(name, vectors[row].tolist(), limit=1, search_params=rescored).points
        assert best.id == row


@pytest.mark.parametrize(
    ("datatype", "error"), [(models.Datatype.FLOAT16, 1e-3), (models.Datatype.FLOAT32, 1e-6)]
)
def test_vectors_are_stored_in_the_type_that_was_asked_for(
    client: QdrantClient, directory: Path, name: str, datatype: models.Datatype, error: float
) -> None:
    client.create_collection(name, vectors_config=_vectors(datatype=datatype, on_disk=True))
    vectors = _fill(client, name)
    _optimize(client, name)
    found = _segment(directory, name)
    assert found["datatype"] == datatype.value
    assert found["storage_type"] == "Mmap"
    (point,) = client.retrieve(name, [7], with_vectors=True)
    np.testing.assert_allclose(point.vector, vectors[7], atol=error)


def test_bytes_are_stored_as_bytes(client: QdrantClient, name: str) -> None:
    client.create_collection(
        name,
        vectors_config=models.VectorParams(
            size=4, distance=models.Distance.DOT, datatype=models.Datatype.UINT8
        ),
    )
    client.upsert(name, [models.PointStruct(id=1, vector=[0.0, 7.0, 128.0, 255.0])])
    (point,) = client.retrieve(name, [1], with_vectors=True)
    assert point.vector == [0.0, 7.0, 128.0, 255.0]


def test_the_graphs_settings_reach_the_graph(client: QdrantClient, directory: Path, name: str) -> None:
    client.create_collection(
        name,
        vectors_config=_vectors(hnsw_config=models.HnswConfigDiff(ef_construct=40)),
        hnsw_config=models.HnswConfigDiff(m=8, payload_m=4, on_disk=True, full_scan_threshold=10),
        on_disk_payload=True,
    )
    _fill(client, name)
    _optimize(client, name)
    graph = _segment(directory, name)["index"]["options"]
    assert (graph["m"], graph["payload_m"], graph["on_disk"]) == (8, 4, True)
    assert graph["ef_construct"] == 40  # what the vector says goes before what the collection says
    config = client.get_collection(name).config
    assert (config.hnsw_config.m, config.params.on_disk_payload) == (8, True)


def test_changed_settings_rebuild_existing_segments(client: QdrantClient, directory: Path, name: str) -> None:
    client.create_collection(name, vectors_config=_vectors(), hnsw_config=models.HnswConfigDiff(m=8))
    _fill(client, name)
    _optimize(client, name)
    assert _segment(directory, name)["quantization_config"] is None
    _optimize(
        client,
        name,
        hnsw_config=models.HnswConfigDiff(m=12),
        quantization_config=_QUANTIZATIONS["int8"],
        vectors_config={"": models.VectorParamsDiff(on_disk=True)},
    )
    found = _segment(directory, name)
    assert found["index"]["options"]["m"] == 12
    assert found["quantization_config"]["scalar"]["quantile"] == pytest.approx(0.99)
    assert found["storage_type"] == "Mmap"
    assert client.count(name).count == _POINTS


def test_changed_settings_outlive_a_restart(tmp_path: Path) -> None:
    with local_qdrant(tmp_path) as first:
        client = connect(first)
        client.create_collection("kept", vectors_config=_vectors(), metadata={"release": "a"})
        _optimize(client, "kept", hnsw_config=models.HnswConfigDiff(m=24), metadata={"by": "b"})
        client.close()
    with local_qdrant(tmp_path) as second:
        client = connect(second)
        config = client.get_collection("kept").config
        assert config.hnsw_config.m == 24
        assert config.metadata == {"release": "a", "by": "b"}
        client.close()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"replication_factor": 2}, "replicas"),
        ({"sharding_method": models.ShardingMethod.CUSTOM}, "shards by a key"),
        ({"wal_config": models.WalConfigDiff(wal_capacity_mb=1)}, "wal_config"),
        ({"strict_mode_config": models.StrictModeConfig(enabled=True)}, "strict_mode_config"),
        ({"sparse_vectors_config": {"words": models.SparseVectorParams()}}, "sparse_vectors_config"),
        ({"optimizers_config": models.OptimizersConfigDiff(memmap_threshold=1)}, "memmap_threshold"),
        ({"vectors_config": {"image": _vectors()}}, "named vectors"),
        (
            {
                "vectors_config": _vectors(
                    multivector_config=models.MultiVectorConfig(
                        comparator=models.MultiVectorComparator.MAX_SIM
                    )
                )
            },
            "multivector_config",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_unsupported_setting_is_rejected_by_name(
    client: QdrantClient, name: str, settings: dict[str, Any], said: str
) -> None:
    with pytest.raises(grpc.RpcError) as refused:
        client.create_collection(name, **{"vectors_config": _vectors(), **settings})
    assert refused.value.code() == grpc.StatusCode.UNIMPLEMENTED
    assert said in refused.value.details()
    assert not client.collection_exists(name)


def test_an_unsupported_update_changes_nothing(client: QdrantClient, name: str) -> None:
    client.create_collection(name, vectors_config=_vectors(), quantization_config=_QUANTIZATIONS["int8"])
    with pytest.raises(grpc.RpcError) as refused:
        client.update_collection(
            name,
            hnsw_config=models.HnswConfigDiff(m=48),
            quantization_config=models.Disabled.DISABLED,
        )
    assert refused.value.code() == grpc.StatusCode.UNIMPLEMENTED
    assert client.get_collection(name).config.hnsw_config.m == 16


def test_too_many_shards_are_rejected(client: QdrantClient, name: str) -> None:
    with pytest.raises(grpc.RpcError) as refused:
        client.create_collection(name, vectors_config=_vectors(), shard_number=100)
    assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize(
    "params",
    [
        models.KeywordIndexParams(
            type="keyword", is_tenant=True, enable_hnsw=False, memory=models.Memory.COLD, prefix=True
        ),
        models.IntegerIndexParams(type="integer", lookup=True, range=False, on_disk=True),
        models.FloatIndexParams(type="float", on_disk=True, is_principal=True),
        models.DatetimeIndexParams(type="datetime", enable_hnsw=False, memory=models.Memory.PINNED),
    ],
    ids=lambda params: params.type,
)
def test_an_index_has_the_parameters_that_were_asked_for(
    client: QdrantClient, name: str, params: Any
) -> None:
    client.create_collection(name, vectors_config=_vectors())
    client.create_payload_index(name, "field", params)
    client.create_payload_index(name, "plain", params.type)
    schema = client.get_collection(name).payload_schema
    assert (schema["field"].data_type, schema["field"].params) == (params.type, params)
    assert schema["plain"].data_type == params.type
    assert schema["plain"].params == type(params)(type=params.type, memory=models.Memory.CACHED)
    client.delete_payload_index(name, "field")
    assert set(client.get_collection(name).payload_schema) == {"plain"}


@pytest.mark.parametrize("kind", [models.PayloadSchemaType.BOOL, models.PayloadSchemaType.TEXT])
def test_an_unsupported_index_is_rejected_by_name(
    client: QdrantClient, name: str, kind: models.PayloadSchemaType
) -> None:
    client.create_collection(name, vectors_config=_vectors())
    with pytest.raises(grpc.RpcError) as refused:
        client.create_payload_index(name, "field", kind)
    assert refused.value.code() == grpc.StatusCode.UNIMPLEMENTED
    assert "field" in refused.value.details()


def test_an_unsupported_field_of_a_request_is_rejected_by_name(client: QdrantClient, name: str) -> None:
    client.create_collection(name, vectors_config=_vectors())
    request = qdrant.UpsertPoints(
        collection_name=name, shard_key_selector=qdrant.ShardKeySelector(shard_keys=[])
    )
    with pytest.raises(grpc.RpcError) as refused:
        client.grpc_points.Upsert(request)
    assert refused.value.code() == grpc.StatusCode.UNIMPLEMENTED
    assert "shard_key_selector of an upsert" in refused.value.details()
