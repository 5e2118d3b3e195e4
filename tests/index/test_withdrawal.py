"""Withdrawals in a real local Qdrant: enforced in every collection and rebuild, and revoked."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace

import grpc
import pytest
from qdrant_client import grpc as qdrant
from qdrant_client.grpc.collections_service_pb2_grpc import CollectionsStub
from qdrant_client.grpc.points_service_pb2_grpc import PointsStub

from creditline.corpus.withdrawn import Withdrawn
from creditline.errors import Conflict
from creditline.index import (
    WorkIndex,
    WorkPoint,
    WorkSearch,
    apply_withdrawals,
    enforce_withdrawals,
    index_release,
)
from creditline.index.points import to_qdrant
from creditline.index.withdrawal import check
from tests.index.builds.test_releases import corpus_of, release_of, remove_builds
from tests.index.works_made_up import WIDTH, made_up_works, unit_vectors

_WORKS = 200
_NAMES = ("works-one", "works-two")
_SPELLINGS = {"work-1": "Ann Smith", "work-2": "ANN\u00a0SMITH", "work-3": "\u0410nn Smith\u200b"}


def _all_listed() -> list[WorkPoint]:
    return [replace(work, withdrawn=False) for work in made_up_works(unit_vectors(_WORKS))]


@pytest.fixture
def collections(index: WorkIndex) -> Iterator[tuple[str, str]]:
    """Two collections that list the same works."""
    for name in _NAMES:
        index.delete(name)
        index.create(name, WIDTH)
        index.upsert(name, _all_listed())
    yield _NAMES
    for name in _NAMES:
        index.delete(name)


def _found(port: int, collection: str) -> set[str]:
    """Ids of all works that a search of the whole collection finds."""

    async def search() -> set[str]:
        async with WorkSearch.connect(grpc_port=port) as searching:
            hits = await searching.search(collection, unit_vectors(1)[0], _WORKS, deadline_seconds=10)
        return {hit.work_id for hit in hits}

    return asyncio.run(search())


def _by(contributor: str) -> set[str]:
    return {work.work_id for work in _all_listed() if work.contributor == contributor}


def _without_keys(point: WorkPoint) -> qdrant.PointStruct:
    """A work as it was written before works had keys of their people."""
    message = to_qdrant(point, point.vector)
    del message.payload["person_keys"]
    return message


@pytest.fixture
def older_collection(index: WorkIndex, qdrant_port: int) -> Iterator[str]:
    """A collection that was filled before works had keys, with three spellings of one name."""
    name = "works-older"
    index.delete(name)
    index.create(name, WIDTH)
    works = [
        replace(work, contributor=_SPELLINGS.get(work.work_id, work.contributor)) for work in _all_listed()
    ]
    with grpc.insecure_channel(f"127.0.0.1:{qdrant_port}") as channel:
        points = PointsStub(channel)
        keyword = qdrant.FieldType.FieldTypeKeyword
        points.CreateFieldIndex(
            qdrant.CreateFieldIndexCollection(
                collection_name=name, wait=True, field_name="holders", field_type=keyword
            )
        )
        messages = list(map(_without_keys, works))
        points.Upsert(qdrant.UpsertPoints(collection_name=name, wait=True, points=messages))
    yield name
    index.delete(name)


def test_a_withdrawn_work_and_contributor_are_found_in_no_collection(
    index: WorkIndex, qdrant_port: int, collections: tuple[str, str]
) -> None:
    withdrawn = Withdrawn(works=frozenset({"work-1", "nobody's"}), contributors=frozenset({"ben", "zoe"}))
    every = {work.work_id for work in _all_listed()}
    assert apply_withdrawals(index, withdrawn, collections) == 2 * len(_by("ben") | {"work-1"})
    for name in collections:
        assert _found(qdrant_port, name) == every - _by("ben") - {"work-1"}
        check(index, withdrawn, name)


def test_enforcing_withdrawals_again_writes_nothing(index: WorkIndex, collections: tuple[str, str]) -> None:
    withdrawn = Withdrawn(works=frozenset({"work-1"}), contributors=frozenset({"ben"}))
    apply_withdrawals(index, withdrawn, collections)
    assert apply_withdrawals(index, withdrawn, collections) == 0


def test_a_work_is_left_out_when_any_of_its_rights_holders_withdraws(
    index: WorkIndex, qdrant_port: int, collections: tuple[str, str]
) -> None:
    name = collections[0]
    shared = replace(_all_listed()[4], rights_holders=(("ada", 50.0), ("Zoë  Müller", 50.0)))
    index.upsert(name, [shared])
    assert apply_withdrawals(index, Withdrawn(contributors=frozenset({"ZOE\u0308 MÜLLER"})), [name]) == 1
    assert "work-4" not in _found(qdrant_port, name)
    assert "work-8" in _found(qdrant_port, name), "ada herself has not withdrawn"


def test_every_spelling_of_a_withdrawn_name_is_left_out(
    index: WorkIndex, qdrant_port: int, collections: tuple[str, str], older_collection: str
) -> None:
    works = _all_listed()
    index.upsert(
        collections[0],
        [replace(works[row], contributor=_SPELLINGS[works[row].work_id]) for row in (1, 2, 3)],
    )
    for name in (collections[0], older_collection):
        enforce_withdrawals(index, Withdrawn(contributors=frozenset({"Ann Smith"})), name)
        assert not _found(qdrant_port, name) & set(_SPELLINGS)
        assert index.count(name, withdrawn=True) == len(_SPELLINGS)
        enforce_withdrawals(index, Withdrawn(revoked_contributors=frozenset({"ann smith"})), name)
        assert index.count(name, withdrawn=True) == 0


def test_all_names_of_an_older_collection_are_known_however_many(
    index: WorkIndex, older_collection: str
) -> None:
    names = index.distinct_values(older_collection, "holders")
    assert set(_SPELLINGS.values()) <= names
    assert index.distinct_values(older_collection, "holders", limit=3) == names


def test_works_of_namesakes_are_told_apart_by_id(
    index: WorkIndex, qdrant_port: int, collections: tuple[str, str]
) -> None:
    name, works = collections[0], _all_listed()
    ids = {1: "account:7", 2: "account:8", 3: "account:7"}
    changed = [replace(works[row], contributor="Ann", contributor_id=ids[row]) for row in ids]
    index.upsert(name, changed)
    enforce_withdrawals(index, Withdrawn(contributor_ids=frozenset({"account:7"})), name)
    assert {"work-1", "work-2", "work-3"} & _found(qdrant_port, name) == {"work-2"}
    enforce_withdrawals(index, Withdrawn(contributors=frozenset({"ann"})), name)
    assert not {"work-1", "work-2", "work-3"} & _found(qdrant_port, name)


def test_works_are_listed_again_after_a_revocation_unless_another_withdrawal_covers_them(
    index: WorkIndex, qdrant_port: int, collections: tuple[str, str]
) -> None:
    name = collections[0]
    apply_withdrawals(index, Withdrawn(frozenset({"work-1", "work-2"}), frozenset({"ben", "cleo"})), [name])
    later = Withdrawn(
        works=frozenset({"work-1"}),
        contributors=frozenset({"cleo"}),
        revoked_works=frozenset({"work-2"}),
        revoked_contributors=frozenset({"ben"}),
    )
    enforce_withdrawals(index, later, name)
    found = _found(qdrant_port, name)
    assert _by("ben") - {"work-1"} <= found
    assert "work-1" not in found, "a work of ben's that is withdrawn by itself"
    assert not found & _by("cleo"), (
        "the withdrawal of work-2 is revoked, but its contributor cleo is withdrawn"
    )


def test_a_collection_that_still_lists_a_withdrawn_work_is_refused(
    index: WorkIndex, collections: tuple[str, str]
) -> None:
    with pytest.raises(Conflict, match="'works-one' still lists works"):
        check(index, Withdrawn(frozenset({"work-0"}), frozenset({"ben"})), collections[0])


def test_more_subjects_than_one_request_carries_are_all_left_out(
    index: WorkIndex, collections: tuple[str, str]
) -> None:
    works = frozenset(f"work-{number}" for number in range(2_500))
    people = frozenset({*(f"person-{number}" for number in range(1_500)), "ada"})
    enforce_withdrawals(index, Withdrawn(works, people), collections[0])
    assert index.count(collections[0], withdrawn=False) == 0


def test_a_collection_that_is_dropped_meanwhile_is_skipped(index: WorkIndex) -> None:
    assert apply_withdrawals(index, Withdrawn(frozenset({"work-1"})), ["works-gone"]) == 0


def test_a_rebuilt_release_never_lists_what_is_withdrawn(index: WorkIndex, qdrant_port: int) -> None:
    withdrawn = Withdrawn(works=frozenset({"w3"}), contributors=frozenset({"c1"}))
    remove_builds(index)
    index_release(release_of(40), corpus_of(40), index, withdrawn)
    covered = {f"w{row}" for row in range(40) if row == 3 or row % 5 == 1}
    assert index.withdrawn_works("works-made-up") == covered
    assert _found(qdrant_port, "works-made-up") == {f"w{row}" for row in range(40)} - covered
    remove_builds(index)


def test_a_rebuilt_release_lists_works_whose_withdrawal_was_revoked(index: WorkIndex) -> None:
    remove_builds(index)
    index_release(release_of(40), corpus_of(40), index, Withdrawn(frozenset({"w3", "w4"})))
    index_release(
        release_of(40), corpus_of(40), index, Withdrawn(frozenset({"w3"}), revoked_works=frozenset({"w4"}))
    )
    assert index.withdrawn_works("works-made-up") == {"w3"}
    remove_builds(index)


def test_withdrawals_outlive_an_optimization_that_runs_meanwhile(
    index: WorkIndex, qdrant_port: int, collections: tuple[str, str]
) -> None:
    """The graph is built on a copy, which withdrawals during the build must reach too."""
    name = collections[0]
    with grpc.insecure_channel(f"127.0.0.1:{qdrant_port}") as channel:
        CollectionsStub(channel).Update(qdrant.UpdateCollection(collection_name=name))
    enforce_withdrawals(index, Withdrawn(frozenset({"work-1"}), frozenset({"ben"})), name)
    index.optimize(name)
    assert not _found(qdrant_port, name) & (_by("ben") | {"work-1"})
