"""Builds behind an alias: verified, promoted in one step, rolled back, dropped."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import numpy as np
import pytest

from creditline.errors import Conflict, NotFound
from creditline.index import WorkIndex, WorkSearch
from creditline.index.promotion import (
    Expected,
    drop_build,
    live_build,
    next_build,
    previous_build,
    promote,
    roll_back,
    verify,
)
from tests.index.works_made_up import WIDTH, made_up_works, unit_vectors

_ALIAS = "works-aliased"
_WORKS = 60


@pytest.fixture
def two_builds(index: WorkIndex) -> Iterator[tuple[str, str]]:
    """Two builds of other vectors; none is promoted."""
    names = []
    for seed in (0, 1):
        names.append(next_build(index, _ALIAS))
        index.create(names[-1], WIDTH)
        index.upsert(names[-1], made_up_works(unit_vectors(_WORKS, seed=seed)))
    yield names[0], names[1]
    for name in names:
        index.delete(name)


def test_an_alias_means_the_promoted_build_and_a_rollback_the_one_before(
    index: WorkIndex, two_builds: tuple[str, str]
) -> None:
    first, second = two_builds
    assert live_build(index, _ALIAS) is None
    assert promote(index, _ALIAS, first) is None
    assert promote(index, _ALIAS, second) == first
    assert (live_build(index, _ALIAS), previous_build(index, _ALIAS)) == (second, first)
    assert roll_back(index, _ALIAS) == first
    assert roll_back(index, _ALIAS) == second


def test_promoting_the_live_build_again_keeps_the_way_back(
    index: WorkIndex, two_builds: tuple[str, str]
) -> None:
    first, second = two_builds
    promote(index, _ALIAS, first)
    promote(index, _ALIAS, second)
    promote(index, _ALIAS, second)
    assert roll_back(index, _ALIAS) == first


def test_without_a_build_before_there_is_no_way_back(index: WorkIndex, two_builds: tuple[str, str]) -> None:
    promote(index, _ALIAS, two_builds[0])
    with pytest.raises(NotFound, match="no build to go back to"):
        roll_back(index, _ALIAS)


def test_only_builds_of_the_alias_can_be_promoted(index: WorkIndex, two_builds: tuple[str, str]) -> None:
    with pytest.raises(Conflict, match="is no build of 'works-other'"):
        promote(index, "works-other", two_builds[0])
    with pytest.raises(NotFound, match=r"works-aliased\.99"):
        promote(index, _ALIAS, f"{_ALIAS}.99")


def test_a_live_build_cannot_be_dropped_but_the_one_before_can(
    index: WorkIndex, two_builds: tuple[str, str]
) -> None:
    first, second = two_builds
    promote(index, _ALIAS, first)
    promote(index, _ALIAS, second)
    with pytest.raises(Conflict, match="is live"):
        drop_build(index, second)
    drop_build(index, first)
    assert previous_build(index, _ALIAS) is None


def _expected(works: int = _WORKS, *, seed: int = 0) -> Expected:
    rows = [3, 20, 41]
    return Expected(works, [f"work-{row}" for row in rows], unit_vectors(_WORKS, seed=seed)[rows])


def test_a_build_is_held_against_what_it_shall_be(index: WorkIndex, two_builds: tuple[str, str]) -> None:
    found = verify(index, two_builds[0], _expected())
    assert (found.works, found.compared) == (_WORKS, 3)
    assert found.recall >= 0.95


def test_missing_works_and_other_vectors_are_found(index: WorkIndex, two_builds: tuple[str, str]) -> None:
    with pytest.raises(Conflict, match="holds 60 works, not 61"):
        verify(index, two_builds[0], _expected(61))
    with pytest.raises(Conflict, match="is another"):
        verify(index, two_builds[1], _expected())
    index.remove(two_builds[0], ["work-20"])
    with pytest.raises(Conflict, match="lacks 1 of 3"):
        verify(index, two_builds[0], _expected(_WORKS - 1))


def test_one_answer_asks_one_build(index: WorkIndex, qdrant_port: int, two_builds: tuple[str, str]) -> None:
    first, second = two_builds
    promote(index, _ALIAS, first)
    query = unit_vectors(_WORKS, seed=1)[7]

    async def ask() -> tuple[str, float, float]:
        async with WorkSearch.connect(grpc_port=qdrant_port) as search:
            build = await search.build_of(_ALIAS)
            promote(index, _ALIAS, second)
            (pinned,) = await search.search(build, query, 1, deadline_seconds=10.0)
            (newest,) = await search.search(_ALIAS, query, 1, deadline_seconds=10.0)
            return build, pinned.score, newest.score

    build, pinned, newest = asyncio.run(ask())
    assert build == first
    assert pinned < 0.9
    assert newest == pytest.approx(1.0, abs=2e-3)


def test_a_name_that_is_no_alias_means_itself(qdrant_port: int, filled: str) -> None:
    async def ask() -> str:
        async with WorkSearch.connect(grpc_port=qdrant_port) as search:
            return await search.build_of(filled)

    assert asyncio.run(ask()) == filled


def test_vectors_of_half_precision_count_as_the_same(index: WorkIndex, two_builds: tuple[str, str]) -> None:
    expected = _expected()
    halved = expected.vectors.astype(np.float16).astype(np.float32)
    assert verify(index, two_builds[0], Expected(_WORKS, expected.ids, halved)).compared == 3
