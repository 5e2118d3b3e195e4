"""Creation, filling, counting and dropping of collections, against a real local Qdrant."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np
import pytest
from qdrant_client import grpc as qdrant

from creditline.errors import Conflict, InvalidInput, NotReady, Unavailable
from creditline.index import WorkIndex
from creditline.index.points import dense_vector
from creditline.local.services import StackPorts
from tests.index.works_made_up import WIDTH, made_up_works, unit_vectors


@pytest.fixture
def collection(index: WorkIndex, request: pytest.FixtureRequest) -> Iterator[str]:
    name = request.node.name.replace("[", "-").replace("]", "")
    index.create(name, WIDTH)
    yield name
    index.delete(name)


def test_writing_the_same_works_twice_leaves_one_of_each(index: WorkIndex, collection: str) -> None:
    works = made_up_works(unit_vectors(700))
    assert index.upsert(collection, works) == 700
    assert index.upsert(collection, works) == 700
    assert index.count(collection) == 700


def test_withdrawn_works_are_counted_as_integers(index: WorkIndex, collection: str) -> None:
    index.upsert(collection, made_up_works(unit_vectors(100)))
    assert index.count(collection, withdrawn=True) == 10
    assert index.count(collection, withdrawn=False) == 90


def test_hiding_works_and_listing_them_again_changes_only_the_named_works(
    index: WorkIndex, collection: str
) -> None:
    index.upsert(collection, made_up_works(unit_vectors(30)))
    index.withdraw(collection, ["work-1", "work-2"])
    assert index.withdrawn_works(collection) == {"work-0", "work-10", "work-20", "work-1", "work-2"}
    index.withdraw(collection, ["work-2"], withdrawn=False)
    assert index.withdrawn_works(collection) == {"work-0", "work-10", "work-20", "work-1"}


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda v: np.full_like(v, np.nan), "finite"),
        (lambda v: v * 2, "length 2"),
        (lambda v: v[:-1], "shape"),
        (lambda v: np.zeros_like(v), "length 0"),
    ],
    ids=["nan", "longer", "narrower", "zero"],
)
def test_a_bad_vector_is_refused_before_anything_of_its_batch_is_written(
    index: WorkIndex, collection: str, spoil: object, sentence: str
) -> None:
    works = made_up_works(unit_vectors(5))
    works[3] = dataclasses.replace(works[3], vector=spoil(works[3].vector))  # type: ignore[operator]
    with pytest.raises(InvalidInput, match=sentence) as refused:
        index.upsert(collection, works)
    assert "work-3" in refused.value.message
    assert index.count(collection) == 0


def test_stored_vectors_are_those_that_were_written(index: WorkIndex, collection: str) -> None:
    vectors = unit_vectors(20)
    index.upsert(collection, made_up_works(vectors))
    stored = index.vectors(collection, ["work-7", "no-such-work", "work-3"])
    np.testing.assert_allclose(stored, vectors[[7, 3]], atol=1e-6)


def test_creating_again_with_another_dimension_is_a_conflict(index: WorkIndex, collection: str) -> None:
    index.create(collection, WIDTH)
    with pytest.raises(Conflict, match=f"dimension {WIDTH}, not {WIDTH + 1}"):
        index.create(collection, WIDTH + 1)


def test_the_error_for_a_missing_collection_names_the_command_that_fills_it(index: WorkIndex) -> None:
    with pytest.raises(NotReady, match="creditline index load"):
        index.upsert("nowhere", made_up_works(unit_vectors(1)))
    assert not index.exists("nowhere")


def test_dropping_takes_the_collection_away(index: WorkIndex) -> None:
    index.create("short-lived", WIDTH)
    assert "short-lived" in index.collections()
    index.delete("short-lived")
    assert "short-lived" not in index.collections()


def test_an_unreachable_qdrant_is_named_with_its_address_and_remedy() -> None:
    port = StackPorts.free().qdrant
    with (
        WorkIndex.connect(grpc_port=port, timeout_seconds=2) as index,
        pytest.raises(Unavailable, match=f"127.0.0.1:{port}.*creditline local up") as refused,
    ):
        index.count("anything")
    assert refused.value.service == "qdrant"


@pytest.mark.parametrize("dimension", [1, 31, 32, 256, 768, 5_000])
def test_a_vector_becomes_the_message_that_protobuf_itself_makes(dimension: int) -> None:
    vector = unit_vectors(1, dimension, seed=dimension)[0]
    assert dense_vector(vector) == qdrant.DenseVector(data=vector.tolist())
