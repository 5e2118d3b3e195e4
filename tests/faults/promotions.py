"""Fault run: promotions and rollbacks under load, with counts of failed queries and mixed answers."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field, replace

import numpy as np

from creditline.errors import CreditlineError
from creditline.index import Hit, IndexPlan, WorkIndex, WorkSearch
from creditline.index.builds.promotion import builds, next_build, promote, roll_back
from tests.index.works_made_up import WIDTH, made_up_works, unit_vectors

_ALIAS = "works-promoted"
_WORKS = 2_000
_LISTED = 20
_DETAILED = 5
_SEARCH_SECONDS = 10.0
_SHORTEST_SECONDS = 0.05
_PLAN = IndexPlan(full_scan_threshold_kilobytes=1, indexing_threshold_kilobytes=1)


@dataclass
class Promotions:
    """Result of the run."""

    switches: int = 0
    """Number of promotions and rollbacks."""
    answers: dict[str, int] = field(default_factory=dict)
    """Number of answers by build."""
    mixed: int = 0
    """Number of answers that mix two builds."""
    failures: list[str] = field(default_factory=list)
    """Error messages of failed queries."""

    @property
    def queries(self) -> int:
        """Number of queries, answered or failed."""
        return sum(self.answers.values()) + len(self.failures)


async def promotions(port: int, *, switches: int, queries_per_second: float = 50.0) -> Promotions:
    """Promote and roll back alternately while queries arrive at a steady rate.

    Each query makes three searches, as a credit line does: the best works, the payload of some, and groups.
    The contributor of a work names the build that holds it.

    Args:
        port: gRPC port of Qdrant.
        switches: Number of promotions and rollbacks.
        queries_per_second: Rate of queries.
    """
    found = Promotions()
    with WorkIndex.connect(grpc_port=port, plan=_PLAN) as index:
        first, second = await asyncio.to_thread(_two_builds, index)
        async with WorkSearch.connect(grpc_port=port) as search, asyncio.TaskGroup() as group:
            stopped = asyncio.Event()
            group.create_task(_ask_steadily(search, found, queries_per_second, stopped))
            await _switch(index, (first, second), switches, found)
            stopped.set()
        for build in (first, second):
            await asyncio.to_thread(index.delete, build)
    return found


def _two_builds(index: WorkIndex) -> tuple[str, str]:
    for old in builds(index, _ALIAS):
        index.delete(old)
    names = []
    for _ in range(2):
        name = next_build(index, _ALIAS)
        index.create(name, WIDTH)
        works = made_up_works(unit_vectors(_WORKS))
        index.upsert(name, [replace(work, contributor=name, withdrawn=False) for work in works])
        index.optimize(name)
        names.append(name)
    promote(index, _ALIAS, names[0])
    promote(index, _ALIAS, names[1])
    return names[0], names[1]


async def _switch(index: WorkIndex, both: tuple[str, str], switches: int, found: Promotions) -> None:
    """Alternate promotions of the first build and rollbacks to the second."""
    for number in range(switches):
        if number % 2:
            await asyncio.to_thread(roll_back, index, _ALIAS)
        else:
            await asyncio.to_thread(promote, index, _ALIAS, both[0])
        found.switches += 1
        # Varied, so that switches do not fall into step with the queries.
        await asyncio.sleep(_SHORTEST_SECONDS * (1 + number % 7))


async def _ask_steadily(search: WorkSearch, found: Promotions, rate: float, stopped: asyncio.Event) -> None:
    began, number = time.monotonic(), 0
    async with asyncio.TaskGroup() as group:
        while not stopped.is_set():
            group.create_task(_ask(search, found, number))
            number += 1
            await asyncio.sleep(max(began + number / rate - time.monotonic(), 0.0))


async def _ask(search: WorkSearch, found: Promotions, number: int) -> None:
    query = unit_vectors(1, seed=number)[0]
    try:
        hits = await _answer(search, query)
    except CreditlineError as error:
        found.failures.append(error.message)
        return
    builds_of = {hit.contributor for hit in hits}
    found.mixed += len(builds_of) != 1
    build = min(builds_of)
    found.answers[build] = found.answers.get(build, 0) + 1


async def _answer(search: WorkSearch, query: np.ndarray) -> list[Hit]:
    """Hits of the three searches of one answer."""
    build = await search.build_of(_ALIAS)
    best = await search.search(build, query, _LISTED, deadline_seconds=_SEARCH_SECONDS)
    part = await search.search(build, query, _LISTED, deadline_seconds=_SEARCH_SECONDS, detailed=_DETAILED)
    groups = await search.search_groups(
        build, query, _DETAILED, by="duplicate_group", deadline_seconds=_SEARCH_SECONDS
    )
    return [*best, *part[:_DETAILED], *(hit for members in groups for hit in members)]
