"""Index plans: as JSON, validated, stored in a collection, and as requests to Qdrant."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from qdrant_client import grpc as qdrant

from creditline.errors import InvalidInput
from creditline.index import IndexPlan, WorkIndex
from creditline.index.plan import Dtype, Quantization


def test_a_plan_read_back_from_json_is_unchanged() -> None:
    plan = IndexPlan(shards=3, quantization=Quantization.BINARY, dtype=Dtype.FLOAT32, indexes_on_disk=True)
    assert IndexPlan.from_json(plan.to_json()) == plan


def test_fields_that_a_plan_leaves_out_have_their_defaults() -> None:
    assert IndexPlan.from_json('{"codes": "turbo4", "shards": 2}') == IndexPlan(
        quantization=Quantization.TURBO4, shards=2
    )


def test_a_plan_with_the_field_names_of_earlier_versions_is_read() -> None:
    expected = IndexPlan(quantization=Quantization.BINARY, dtype=Dtype.FLOAT32)
    assert IndexPlan.from_json('{"codes": "binary", "numbers": "float32"}') == expected
    former = json.loads(expected.to_json())
    former["codes"], former["numbers"] = former.pop("quantization"), former.pop("dtype")
    config = qdrant.CollectionConfig()
    config.metadata["creditline_plan"].string_value = json.dumps(former)
    assert IndexPlan.of_collection(config) == expected


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('{"shard": 2}', "has no 'shard'; did you mean 'shards'"),
        ('{"codes": "int9"}', "quantization of an index plan"),
        ('{"segments": "many"}', "segments of an index plan"),
        ('{"segments": 0}', "segments is 0; give 1 or more"),
        (
            '{"replicas": 2, "write_consistency": 3}',
            "write_consistency is 3; give 1 to the number of replicas, 2",
        ),
        ("[1]", "not an index plan"),
        ("{", "not an index plan"),
    ],
)
def test_an_invalid_plan_is_refused_in_a_sentence(text: str, sentence: str) -> None:
    with pytest.raises(InvalidInput, match=sentence.replace("(", r"\(")):
        IndexPlan.from_json(text)


@pytest.fixture
def planned(qdrant_port: int) -> Iterator[tuple[WorkIndex, IndexPlan]]:
    """A collection whose layout is not the default."""
    plan = IndexPlan(segments=3, quantization=Quantization.BINARY, search_ef=99, upsert_batch=7)
    with WorkIndex.connect(grpc_port=qdrant_port, plan=plan) as index:
        index.create("planned", 16)
        yield index, plan
        index.delete("planned")


def test_another_client_reads_the_plan_from_the_collection(
    planned: tuple[WorkIndex, IndexPlan], qdrant_port: int
) -> None:
    with WorkIndex.connect(grpc_port=qdrant_port) as other:
        assert other.plan("planned") == planned[1]


def test_quantization_determines_the_oversampling() -> None:
    efforts = {
        quantization: IndexPlan(quantization=quantization).effort(10, narrow=False, exact=False)
        for quantization in Quantization
    }
    assert efforts[Quantization.INT8].quantization.oversampling == 2.0
    assert efforts[Quantization.BINARY].quantization.oversampling == 4.0
    assert not efforts[Quantization.NONE].HasField("quantization")


def test_effort_is_never_below_the_limit_and_higher_with_a_filter() -> None:
    plan = IndexPlan()
    assert plan.effort(10_000, narrow=False, exact=False).hnsw_ef == 10_000
    assert (
        plan.effort(10, narrow=True, exact=False).hnsw_ef > plan.effort(10, narrow=False, exact=False).hnsw_ef
    )
    assert plan.effort(10, narrow=True, exact=False).acorn.enable
    assert plan.effort(10, narrow=True, exact=True) == qdrant.SearchParams(exact=True)


def test_the_request_carries_every_setting() -> None:
    plan = IndexPlan(
        graph_links=12,
        graph_on_disk=True,
        segments=5,
        shards=4,
        replicas=2,
        write_consistency=2,
        quantization=Quantization.TURBO4,
    )
    request = plan.creation("works", 256)
    assert (request.shard_number, request.replication_factor, request.write_consistency_factor) == (4, 2, 2)
    assert (request.hnsw_config.m, request.hnsw_config.on_disk) == (12, True)
    assert request.optimizers_config.default_segment_number == 5
    assert request.quantization_config.turboquant.bits == qdrant.TurboQuantBitSize.Bits4
    assert request.vectors_config.params.datatype == qdrant.Datatype.Float16
    assert request.vectors_config.params.on_disk
    assert request.on_disk_payload
