"""Builds behind an alias: verified, promoted in one step, rolled back, dropped."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from creditline.errors import Conflict, NotFound
from creditline.index import WorkIndex, WorkSearch
from creditline.index.builds.promotion import (
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
    """Two builds with different vectors; neither is promoted."""
    names = []
    for seed in (0, 1):
        names.append(next_build(index, _ALIAS))
        index.create(names[-1], WIDTH)
        index.upsert(names[-1], made_up_works(unit_vectors(_WORKS, seed=seed)))
    yield names[0], names[1]
    for name in names:
        index.delete(name)


def test_a_promotion_makes_a_build_live_and_a_rollback_the_one_before(
    index: WorkIndex, two_builds: tuple[str, str]
) -> None:
    first, second = two_builds
    assert live_build(index, _ALIAS) is None
    assert promote(index, _ALIAS, first) is None
    assert promote(index, _ALIAS, second) == first
    assert (live_build(index, _ALIAS), previous_build(index, _ALIAS)) == (second, first)
    assert roll_back(index, _ALIAS) == first


def test_a_second_rollback_goes_further_back_and_never_forward(
    index: WorkIndex, two_builds: tuple[str, str]
) -> None:
    oldest = next_build(index, _ALIAS)
    index.create(oldest, WIDTH)
    for build in (oldest, *two_builds):
        promote(index, _ALIAS, build)
    assert [roll_back(index, _ALIAS), roll_back(index, _ALIAS)] == [two_builds[0], oldest]
    with pytest.raises(NotFound, match="no earlier build to roll back to"):
        roll_back(index, _ALIAS)
    promote(index, _ALIAS, two_builds[1])
    assert roll_back(index, _ALIAS) == oldest
    index.delete(oldest)


def test_a_rollback_to_a_build_of_another_encoder_is_refused(
    index: WorkIndex, two_builds: tuple[str, str]
) -> None:
    first, second = two_builds
    promote(index, _ALIAS, first)
    promote(index, _ALIAS, second)
    with pytest.raises(Conflict, match="another encoder"):
        roll_back(index, _ALIAS, serves=_expected(seed=1))
    assert live_build(index, _ALIAS) == second


def test_promoting_the_live_build_again_keeps_the_build_for_a_rollback(
    index: WorkIndex, two_builds: tuple[str, str]
) -> None:
    first, second = two_builds
    promote(index, _ALIAS, first)
    promote(index, _ALIAS, second)
    promote(index, _ALIAS, second)
    assert roll_back(index, _ALIAS) == first


def test_without_a_previous_build_there_is_no_rollback(index: WorkIndex, two_builds: tuple[str, str]) -> None:
    promote(index, _ALIAS, two_builds[0])
    with pytest.raises(NotFound, match="no earlier build to roll back to"):
        roll_back(index, _ALIAS)


def test_only_builds_of_the_alias_can_be_promoted(index: WorkIndex, two_builds: tuple[str, str]) -> None:
    with pytest.raises(Conflict, match="is not a build of 'works-other'"):
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


def test_a_build_with_the_expected_content_passes_verification(
    index: WorkIndex, two_builds: tuple[str, str]
) -> None:
    found = verify(index, two_builds[0], _expected())
    assert (found.works, found.compared) == (_WORKS, 3)
    assert found.recall >= 0.95


def test_missing_works_and_different_vectors_fail_verification(
    index: WorkIndex, two_builds: tuple[str, str]
) -> None:
    with pytest.raises(Conflict, match="holds 60 works, not 61"):
        verify(index, two_builds[0], _expected(61))
    with pytest.raises(Conflict, match="differs"):
        verify(index, two_builds[1], _expected())
    index.remove(two_builds[0], ["work-20"])
    with pytest.raises(Conflict, match="lacks 1 of 3"):
        verify(index, two_builds[0], _expected(_WORKS - 1))


def test_searches_of_a_resolved_build_are_not_affected_by_a_promotion(
    index: WorkIndex, qdrant_port: int, two_builds: tuple[str, str]
) -> None:
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


def test_a_name_that_is_not_an_alias_resolves_to_itself(qdrant_port: int, filled: str) -> None:
    async def ask() -> str:
        async with WorkSearch.connect(grpc_port=qdrant_port) as search:
            return await search.build_of(filled)

    assert asyncio.run(ask()) == filled


def test_vectors_of_half_precision_count_as_the_same(index: WorkIndex, two_builds: tuple[str, str]) -> None:
    expected = _expected()
    halved = expected.vectors.astype(np.float16).astype(np.float32)
    assert verify(index, two_builds[0], Expected(_WORKS, expected.ids, halved)).compared == 3


@pytest.fixture
def unfit_build(
    index: WorkIndex, two_builds: tuple[str, str], request: pytest.FixtureRequest
) -> Iterator[str]:
    """A third build that cannot serve the release of the first; the parameter names the mismatch."""
    name, vectors = next_build(index, _ALIAS), unit_vectors(_WORKS)
    match request.param:
        case "dimension":
            vectors = unit_vectors(_WORKS, WIDTH // 2)
        case "encoder":
            vectors = unit_vectors(_WORKS, seed=9)
        case "works":
            vectors = vectors[:0]
    index.create(name, vectors.shape[1])
    index.upsert(name, made_up_works(vectors))
    yield name
    index.delete(name)


@pytest.mark.parametrize(
    ("unfit_build", "why"),
    [
        ("dimension", "16 dimensions, those of the release 32"),
        ("encoder", "made by another encoder"),
        ("works", "holds none of 3 works of the release"),
    ],
    indirect=["unfit_build"],
)
def test_a_build_that_cannot_serve_the_release_is_not_promoted(
    index: WorkIndex, two_builds: tuple[str, str], unfit_build: str, why: str
) -> None:
    promote(index, _ALIAS, two_builds[0], serves=_expected())
    with pytest.raises(Conflict, match=why) as refused:
        promote(index, _ALIAS, unfit_build, serves=_expected())
    assert "creditline index load --release" in refused.value.message
    assert live_build(index, _ALIAS) == two_builds[0]
    assert previous_build(index, _ALIAS) is None


@pytest.mark.parametrize("unfit_build", ["dimension"], indirect=True)
def test_without_a_release_the_dimension_is_compared_with_the_live_build(
    index: WorkIndex, two_builds: tuple[str, str], unfit_build: str
) -> None:
    promote(index, _ALIAS, two_builds[0])
    with pytest.raises(Conflict, match=r"16 dimensions, those of the live build .* 32; name the release"):
        promote(index, _ALIAS, unfit_build)
    assert live_build(index, _ALIAS) == two_builds[0]


def test_a_build_with_more_works_than_the_release_or_fewer_is_promoted(
    index: WorkIndex, two_builds: tuple[str, str]
) -> None:
    first, second = two_builds
    new = [replace(each, work_id=f"new-{each.work_id}") for each in made_up_works(unit_vectors(5, seed=3))]
    index.upsert(first, new)
    assert promote(index, _ALIAS, first, serves=_expected()) is None
    index.remove(first, ["work-20", "work-4"])
    promote(index, _ALIAS, second)
    assert promote(index, _ALIAS, first, serves=_expected()) == second
