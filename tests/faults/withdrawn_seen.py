"""Fault run: withdrawals under load, with a count of searches that still show a withdrawn work.

Only the index is searched, without the gateway's own check of hits against the ledger.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from creditline.corpus.withdrawn import NOTHING_WITHDRAWN, Withdrawn
from creditline.index import Hit, IndexPlan, WorkIndex, WorkPoint, WorkSearch, enforce_withdrawals
from creditline.ledger import Ledger, WithdrawalKind
from tests.index.works_made_up import WIDTH, made_up_works, unit_vectors

_COLLECTION = "works-withdrawn-seen"
_WORKS = 2_000
_WORKS_PER_CONTRIBUTOR = 20
# Enough works per search to show all works of a contributor.
_LISTED = 50
_SEARCH_SECONDS = 30.0
# Low thresholds, so that the graph is built and used even for few works.
_PLAN = IndexPlan(full_scan_threshold_kilobytes=1, indexing_threshold_kilobytes=1)


@dataclass(frozen=True)
class WithdrawnSeen:
    """Result of the run."""

    searches: int
    """Number of searches that started after at least one acknowledged withdrawal."""
    seen: int
    """Number of these that showed a work whose withdrawal was acknowledged before the search started."""
    shown_before: int
    """Number of searches that found their work before its withdrawal; with 0, the run would prove nothing."""
    withdrawals: int
    """Number of withdrawals."""


@dataclass
class _Count:
    acknowledged: Withdrawn = NOTHING_WITHDRAWN
    searches: int = 0
    seen: int = 0
    shown_before: int = 0
    withdrawals: int = 0
    stopped: asyncio.Event = field(default_factory=asyncio.Event)


async def withdrawn_seen(
    port: int, ledger: Ledger, *, searches: int, tasks: int = 8, withdrawals: int = 30, seed: int = 0
) -> WithdrawnSeen:
    """Withdraw works and contributors one after another while concurrent tasks search for them.

    After a third of the withdrawals, the index rebuilds its graph on a copy while writes continue.

    Args:
        port: gRPC port of Qdrant.
        ledger: The ledger.
        searches: Number of searches after an acknowledgement at which the run ends.
        tasks: Number of concurrent tasks that search.
        withdrawals: Number of withdrawals.
        seed: Seed of the tasks' choice of works.
    """
    works = _listed_works()
    subjects = works[:: len(works) // withdrawals][:withdrawals]
    count = _Count()
    with WorkIndex.connect(grpc_port=port, plan=_PLAN) as index:
        await asyncio.to_thread(_fill, index, works)
        async with WorkSearch.connect(grpc_port=port) as search, asyncio.TaskGroup() as group:
            for number in range(tasks):
                group.create_task(_search(search, subjects, count, np.random.default_rng((seed, number))))
            await _withdraw_all(index, ledger, subjects, searches, count)
            count.stopped.set()
        await asyncio.to_thread(index.delete, _COLLECTION)
    return WithdrawnSeen(count.searches, count.seen, count.shown_before, count.withdrawals)


def _listed_works() -> list[WorkPoint]:
    works = made_up_works(unit_vectors(_WORKS, WIDTH))
    return [
        replace(work, withdrawn=False, contributor=f"person-{row // _WORKS_PER_CONTRIBUTOR}")
        for row, work in enumerate(works)
    ]


def _fill(index: WorkIndex, works: Sequence[WorkPoint]) -> None:
    index.delete(_COLLECTION)
    index.create(_COLLECTION, WIDTH)
    index.upsert(_COLLECTION, works)
    index.optimize(_COLLECTION)


async def _withdraw_all(
    index: WorkIndex, ledger: Ledger, subjects: Sequence[WorkPoint], searches: int, count: _Count
) -> None:
    """Withdraw works and contributors alternately, spread over the searches, as the gateway does."""
    rebuilding: asyncio.Task[None] | None = None
    for number, subject in enumerate(subjects):
        await _wait_for(count, searches * number // len(subjects))
        if number == len(subjects) // 3:
            rebuilding = asyncio.create_task(asyncio.to_thread(index.optimize, _COLLECTION))
        count.acknowledged = await asyncio.to_thread(_withdraw, index, ledger, subject, number)
        count.withdrawals += 1
    await _wait_for(count, searches)
    if rebuilding is not None:
        await rebuilding


def _withdraw(index: WorkIndex, ledger: Ledger, subject: WorkPoint, number: int) -> Withdrawn:
    if number % 2:
        ledger.withdraw(WithdrawalKind.CONTRIBUTOR, subject.contributor)
    else:
        ledger.withdraw(WithdrawalKind.WORK, subject.work_id)
    withdrawn = ledger.withdrawn()
    enforce_withdrawals(index, withdrawn, _COLLECTION)
    return withdrawn


async def _wait_for(count: _Count, searches: int) -> None:
    while count.searches < searches:
        await asyncio.sleep(0.001)


async def _search(
    search: WorkSearch, subjects: Sequence[WorkPoint], count: _Count, random: np.random.Generator
) -> None:
    """Search for works by their own vectors: a work that is not hidden is the first hit."""
    while not count.stopped.is_set():
        subject = subjects[int(random.integers(len(subjects)))]
        before = count.acknowledged
        hits = await search.search(_COLLECTION, subject.vector, _LISTED, deadline_seconds=_SEARCH_SECONDS)
        if before is not NOTHING_WITHDRAWN:
            count.searches += 1
            count.seen += any(before.covers(hit.work_id, hit.contributor) for hit in hits)
        count.shown_before += _is_shown(hits, subject) and not before.covers(
            subject.work_id, subject.contributor
        )


def _is_shown(hits: Sequence[Hit], subject: WorkPoint) -> bool:
    return any(hit.work_id == subject.work_id for hit in hits)
