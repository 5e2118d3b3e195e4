"""Searches in a collection whose graph is built, with brute force as the oracle."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from creditline.corpus.consent.uses import Use
from creditline.errors import DeadlineExceeded, InvalidInput, NotReady, Unavailable
from creditline.index import Hit, WorkFilter, WorkIndex, WorkPoint, WorkSearch, point_id
from creditline.index.search import GroupField
from creditline.local.services import StackPorts
from tests.index.conftest import WORKS
from tests.index.works_made_up import WIDTH, brute_force, made_up_works, unit_vectors
from tests.local.qdrant_process import RunningQdrant, local_qdrant, start_qdrant
from tests.processes import freeze

_QUERIES = unit_vectors(40, seed=1)
_DEADLINE_SECONDS = 10.0

Search = Callable[..., list[list[Hit]]]


@pytest.fixture
def search(qdrant_port: int, filled: str) -> Search:
    """A function that searches for several queries, one after another, over one connection."""

    def run(queries: Any, limit: int, **options: Any) -> list[list[Hit]]:
        async def ask() -> list[list[Hit]]:
            async with WorkSearch.connect(grpc_port=qdrant_port) as works:
                options.setdefault("deadline_seconds", _DEADLINE_SECONDS)
                name = options.pop("collection", filled)
                return [await works.search(name, query, limit, **options) for query in queries]

        return asyncio.run(ask())

    return run


def _recall(found: list[list[Hit]], limit: int, contributor: str | None = None) -> float:
    works = made_up_works(unit_vectors(WORKS))
    hits = 0
    for query, answer in zip(_QUERIES, found, strict=True):
        truth = {work_id for work_id, _ in brute_force(works, query, limit, contributor)}
        hits += len(truth & {hit.work_id for hit in answer})
    return hits / (limit * len(_QUERIES))


def test_the_exact_search_is_brute_force_in_order_and_score(search: Search) -> None:
    works = made_up_works(unit_vectors(WORKS))
    for query, answer in zip(_QUERIES[:5], search(_QUERIES[:5], 20, exact=True), strict=True):
        expected = brute_force(works, query, 20)
        assert [hit.work_id for hit in answer] == [work_id for work_id, _ in expected]
        np.testing.assert_allclose([hit.score for hit in answer], [c for _, c in expected], atol=1e-5)


def test_the_graph_finds_almost_all_of_the_nearest_works(search: Search) -> None:
    assert _recall(search(_QUERIES, 10), 10) >= 0.97


def test_the_graph_finds_almost_all_of_one_contributors_nearest_works(search: Search) -> None:
    found = search(_QUERIES, 10, where=WorkFilter(contributors=("cleo",)))
    assert {hit.contributor for answer in found for hit in answer} == {"cleo"}
    assert _recall(found, 10, "cleo") >= 0.97


def test_scores_come_from_the_full_vectors_and_fall(search: Search) -> None:
    vectors = unit_vectors(WORKS)
    (answer,) = search(_QUERIES[:1], 50)
    scores = [hit.score for hit in answer]
    assert scores == sorted(scores, reverse=True)
    rows = [int(hit.work_id.removeprefix("work-")) for hit in answer]
    np.testing.assert_allclose(scores, vectors[rows] @ _QUERIES[0], atol=1e-5)


def test_a_withdrawn_work_is_not_found_even_by_its_own_vector(search: Search) -> None:
    vectors = unit_vectors(WORKS)
    withdrawn, listed = search([vectors[10], vectors[11]], 5)
    assert "work-10" not in {hit.work_id for hit in withdrawn}
    assert listed[0].work_id == "work-11"
    assert listed[0].score == pytest.approx(1.0, abs=1e-5)


def test_a_hit_has_contributor_texts_licence_and_source(search: Search) -> None:
    ((hit, *_),) = search([unit_vectors(WORKS)[11]], 1)
    assert (hit.contributor, hit.title, hit.caption) == ("dora", "Title 11", "Title 11, with a caption")
    assert (hit.licence, hit.duplicate_group) == ("Public Domain", "work-9")
    assert (hit.source, hit.holders) == ("animals/11.png", (("dora", 100.0),))


def test_a_hit_has_rights_holders_with_percentages(search: Search) -> None:
    ((hit, *_),) = search([unit_vectors(WORKS)[15]], 1)
    assert (hit.contributor, hit.holders) == ("dora", (("eve", 60.0), ("finn", 40.0)))


def _agrees(said: tuple[str, ...], wanted: tuple[str, ...]) -> bool:
    """Whether one of the wanted terms holds for every use that they name."""
    held = {use: f"{use}=unspecified" for use in Use} | {Use(term.split("=")[0]): term for term in said}
    uses = {Use(term.split("=")[0]) for term in wanted}
    return all(held[use] in wanted for use in uses)


def _passing(where: WorkFilter) -> list[WorkPoint]:
    """Works that pass a filter: the oracle, in plain Python."""

    def passes(work: WorkPoint) -> bool:
        holders = {work.contributor, *(name for name, _ in work.rights_holders)}
        host = "food.example" if "://" in work.source else "animals"
        since, until = where.since, where.until
        return (
            not work.withdrawn
            and (not where.contributors or bool(holders & set(map(str.lower, where.contributors))))
            and (not where.licences or work.licence in where.licences)
            and (not where.origins or host in where.origins)
            and (since is None or (work.created is not None and work.created >= since))
            and (until is None or (work.created is not None and work.created < until))
            and _agrees(work.consent, where.consent)
        )

    return [work for work in made_up_works(unit_vectors(WORKS)) if passes(work)]


@pytest.mark.parametrize(
    "where",
    [
        WorkFilter(contributors=("eve",)),
        WorkFilter(contributors=("ADA", "Finn")),
        WorkFilter(licences=("CC BY",)),
        WorkFilter(licences=("CC BY", "Public Domain"), origins=("food.example",)),
        WorkFilter(since=500_000),
        WorkFilter(until=100_000, origins=("animals",)),
        WorkFilter(contributors=("cleo",), since=200_000, until=2_000_000),
        WorkFilter(consent=("generative_training=prohibited",)),
        WorkFilter(consent=("generative_training=allowed", "generative_training=unspecified")),
        WorkFilter(consent=("mining=constrained", "generative_training=unspecified"), licences=("CC BY",)),
    ],
)
def test_filters_list_exactly_what_passes_them(search: Search, where: WorkFilter) -> None:
    works = _passing(where)
    nearest = brute_force(works, _QUERIES[0], 50)
    (exact,) = search(_QUERIES[:1], 50, where=where, exact=True)
    assert [hit.work_id for hit in exact] == [work_id for work_id, _ in nearest]
    (graph,) = search(_QUERIES[:1], 50, where=where)
    assert len({hit.work_id for hit in graph} & {work_id for work_id, _ in nearest}) >= 48


def test_consent_outside_its_words_is_refused_by_name() -> None:
    with pytest.raises(InvalidInput, match="'training: no' is not a use"):
        WorkFilter(consent=("training: no",))


@pytest.mark.parametrize("until", [100_000, 5])
def test_no_work_passes_an_empty_time_span(search: Search, until: int) -> None:
    assert search(_QUERIES[:1], 20, where=WorkFilter(since=100_000, until=until)) == [[]]


def test_with_detailed_only_the_best_hits_have_their_payload(search: Search) -> None:
    (whole,), (part,) = search(_QUERIES[:1], 20), search(_QUERIES[:1], 20, detailed=4)
    assert part[:4] == whole[:4]
    assert [(hit.point_id, hit.score) for hit in part] == [(hit.point_id, hit.score) for hit in whole]
    assert {(hit.work_id, hit.contributor) for hit in part[4:]} == {("", "")}
    assert part[7].point_id == point_id(whole[7].work_id)


def test_a_batch_of_searches_gives_each_its_own_answer(qdrant_port: int, filled: str) -> None:
    async def ask() -> tuple[list[list[Hit]], list[list[Hit]]]:
        async with WorkSearch.connect(grpc_port=qdrant_port) as works:
            together = await works.search_many(
                filled, list(_QUERIES[:6]), 5, deadline_seconds=_DEADLINE_SECONDS
            )
            alone = [
                await works.search(filled, query, 5, deadline_seconds=_DEADLINE_SECONDS)
                for query in _QUERIES[:6]
            ]
            return together, alone

    together, alone = asyncio.run(ask())
    assert together == alone


@pytest.mark.parametrize("by", ["contributor", "duplicate_group"])
def test_groups_come_best_first_each_by_its_best_works(qdrant_port: int, filled: str, by: GroupField) -> None:
    async def ask() -> list[list[Hit]]:
        async with WorkSearch.connect(grpc_port=qdrant_port) as works:
            return await works.search_groups(
                filled, _QUERIES[0], 4, by=by, per_group=2, deadline_seconds=_DEADLINE_SECONDS
            )

    best: dict[str, list[str]] = {}
    works = {work.work_id: work for work in made_up_works(unit_vectors(WORKS))}
    for work_id, _ in brute_force(list(works.values()), _QUERIES[0], WORKS):
        best.setdefault(getattr(works[work_id], by), []).append(work_id)
    found = [[hit.work_id for hit in group] for group in asyncio.run(ask())]
    assert found == [members[:2] for members in list(best.values())[:4]]


def test_all_works_above_a_cosine_are_found(qdrant_port: int, filled: str) -> None:
    async def ask() -> list[Hit]:
        async with WorkSearch.connect(grpc_port=qdrant_port) as works:
            return await works.above(filled, _QUERIES[0], 0.35, deadline_seconds=_DEADLINE_SECONDS)

    listed = brute_force(made_up_works(unit_vectors(WORKS)), _QUERIES[0], WORKS)
    expected = {work_id for work_id, cosine in listed if cosine >= 0.35}
    assert len(expected) > 20
    assert {hit.work_id for hit in asyncio.run(ask())} == expected


def test_a_withdrawn_work_is_left_out_of_the_next_search(
    index: WorkIndex, search: Search, request: pytest.FixtureRequest
) -> None:
    request.addfinalizer(lambda: index.delete("later"))
    index.create("later", WIDTH)
    vectors = unit_vectors(50)
    index.upsert("later", made_up_works(vectors))
    ((before, *_),) = search([vectors[7]], 1, collection="later")
    index.withdraw("later", ["work-7"])
    ((after, *_),) = search([vectors[7]], 1, collection="later")
    assert before.work_id == "work-7"
    assert after.work_id != "work-7"


def test_many_searches_at_once_get_their_own_answers(qdrant_port: int, filled: str) -> None:
    rows = [row for row in range(60) if row % 10]

    async def ask() -> list[list[Hit]]:
        async with WorkSearch.connect(grpc_port=qdrant_port) as works:
            vectors = unit_vectors(WORKS)
            return await asyncio.gather(
                *(works.search(filled, vectors[row], 1, deadline_seconds=_DEADLINE_SECONDS) for row in rows)
            )

    assert [answer[0].work_id for answer in asyncio.run(ask())] == [f"work-{row}" for row in rows]


def test_a_deadline_that_has_passed_is_reported_without_a_call(search: Search) -> None:
    with pytest.raises(DeadlineExceeded, match="had passed"):
        search(_QUERIES[:1], 10, deadline_seconds=0.0)


def test_a_deadline_that_a_frozen_qdrant_misses_is_reported(tmp_path: Path) -> None:
    vectors = unit_vectors(20)

    async def ask(running: RunningQdrant) -> tuple[float, Hit]:
        async with WorkSearch.connect(grpc_port=running.port) as works:
            await works.search("kept", vectors[7], 1, deadline_seconds=_DEADLINE_SECONDS)
            freeze(running.process.pid)
            began = time.monotonic()
            with pytest.raises(DeadlineExceeded, match="did not answer before the deadline"):
                await works.search("kept", vectors[7], 1, deadline_seconds=0.3)
            waited = time.monotonic() - began
            running.process.send_signal(signal.SIGCONT)
            return waited, (await works.search("kept", vectors[7], 1, deadline_seconds=_DEADLINE_SECONDS))[0]

    with local_qdrant(tmp_path) as running:
        try:
            with WorkIndex.connect(grpc_port=running.port) as index:
                index.create("kept", WIDTH)
                index.upsert("kept", made_up_works(vectors))
            waited, hit = asyncio.run(ask(running))
        finally:
            running.process.send_signal(signal.SIGCONT)
    assert 0.3 <= waited < 2.0
    assert hit.work_id == "work-7"


def test_a_query_that_is_not_finite_is_refused(search: Search) -> None:
    with pytest.raises(InvalidInput, match="finite"):
        search([np.full(WIDTH, np.nan, dtype=np.float32)], 10)


def test_a_query_of_another_dimension_is_refused(search: Search) -> None:
    with pytest.raises(InvalidInput, match="expected dim: 32, got 7"):
        search([unit_vectors(1, 7)[0]], 10)


def test_a_limit_of_zero_works_is_refused(search: Search) -> None:
    with pytest.raises(InvalidInput, match="ask for 1 to 10,000"):
        search(_QUERIES[:1], 0)


def test_the_error_for_a_missing_collection_names_the_command_that_fills_it(search: Search) -> None:
    with pytest.raises(NotReady, match="creditline index load"):
        search(_QUERIES[:1], 10, collection="nowhere")


def test_an_unreachable_qdrant_is_named_with_its_address_and_remedy() -> None:
    port = StackPorts.free().qdrant

    async def ask() -> None:
        async with WorkSearch.connect(grpc_port=port) as works:
            await works.search("any", _QUERIES[0], 10, deadline_seconds=2.0)

    with pytest.raises(Unavailable, match=f"127.0.0.1:{port}.*creditline local up") as refused:
        asyncio.run(ask())
    assert refused.value.service == "qdrant"


def test_searches_work_again_soon_after_qdrant_came_back(tmp_path: Path) -> None:
    vectors = unit_vectors(20)
    first = start_qdrant(tmp_path)
    with WorkIndex.connect(grpc_port=first.port) as index:
        index.create("kept", WIDTH)
        index.upsert("kept", made_up_works(vectors))

    async def ask() -> tuple[Hit, float]:
        async with WorkSearch.connect(grpc_port=first.port) as works:
            await works.search("kept", vectors[7], 1, deadline_seconds=_DEADLINE_SECONDS)
            first.process.kill()
            first.process.wait()
            with pytest.raises(Unavailable):
                await works.search("kept", vectors[7], 1, deadline_seconds=_DEADLINE_SECONDS)
            second = await asyncio.to_thread(start_qdrant, tmp_path, port=first.port)
            began = time.monotonic()
            try:
                return await _first_answer(works, vectors[7]), time.monotonic() - began
            finally:
                second.process.terminate()
                second.process.wait(60)

    hit, seconds = asyncio.run(ask())
    assert hit.work_id == "work-7"
    assert seconds < 15.0


async def _first_answer(works: WorkSearch, query: np.ndarray) -> Hit:
    """The nearest work; the search is repeated while Qdrant is not reachable."""
    async with asyncio.timeout(60.0):
        while True:
            try:
                return (await works.search("kept", query, 1, deadline_seconds=_DEADLINE_SECONDS))[0]
            except Unavailable:
                await asyncio.sleep(0.1)
