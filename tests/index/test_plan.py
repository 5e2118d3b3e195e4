"""Plans: read, overridden, refused, told by a collection, and what they ask of Qdrant."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from qdrant_client import grpc as qdrant

from creditline.errors import InvalidInput
from creditline.index import IndexPlan, WorkIndex
from creditline.index.plan import Dtype, Quantization


def test_a_plan_survives_being_written() -> None:
    plan = IndexPlan(shards=3, quantization=Quantization.BINARY, dtype=Dtype.FLOAT32, indexes_on_disk=True)
    assert IndexPlan.from_json(plan.to_json()) == plan


def test_a_plan_may_say_only_what_differs() -> None:
    assert IndexPlan.from_json('{"codes": "turbo4", "shards": 2}') == IndexPlan(
        quantization=Quantization.TURBO4, shards=2
    )


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
def test_a_plan_that_no_collection_can_have_is_refused_in_a_sentence(text: str, sentence: str) -> None:
    with pytest.raises(InvalidInput, match=sentence.replace("(", r"\(")):
        IndexPlan.from_json(text)


@pytest.fixture
def planned(qdrant_port: int) -> Iterator[tuple[WorkIndex, IndexPlan]]:
    """A collection of another layout than the default."""
    plan = IndexPlan(segments=3, quantization=Quantization.BINARY, search_ef=99, upsert_batch=7)
    with WorkIndex.connect(grpc_port=qdrant_port, plan=plan) as index:
        index.create("planned", 16)
        yield index, plan
        index.delete("planned")


def test_whoever_opens_a_collection_learns_its_plan(
    planned: tuple[WorkIndex, IndexPlan], qdrant_port: int
) -> None:
    with WorkIndex.connect(grpc_port=qdrant_port) as other:
        assert other.plan("planned") == planned[1]


def test_codes_decide_how_many_more_works_are_scored_anew() -> None:
    asked = {
        quantization: IndexPlan(quantization=quantization).effort(10, narrow=False, exact=False)
        for quantization in Quantization
    }
    assert asked[Quantization.INT8].quantization.oversampling == 2.0
    assert asked[Quantization.BINARY].quantization.oversampling == 4.0
    assert not asked[Quantization.NONE].HasField("quantization")


def test_effort_is_never_less_than_what_is_asked_for_and_more_with_a_filter() -> None:
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
    made = plan.creation("works", 256)
    assert (made.shard_number, made.replication_factor, made.write_consistency_factor) == (4, 2, 2)
    assert (made.hnsw_config.m, made.hnsw_config.on_disk) == (12, True)
    assert made.optimizers_config.default_segment_number == 5
    assert made.quantization_config.turboquant.bits == qdrant.TurboQuantBitSize.Bits4
    assert made.vectors_config.params.datatype == qdrant.Datatype.Float16
    assert made.vectors_config.params.on_disk
    assert made.on_disk_payload
