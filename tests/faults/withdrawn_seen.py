"""Withdrawals under load: searches from many tasks, and whether one still shows what was acknowledged.

The index alone is asked, without the gateway's second look: what is found here is found by anybody.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from creditline.corpus.withdrawn import NOTHING_WITHDRAWN, Withdrawn
from creditline.index import Hit, IndexPlan, WorkIndex, WorkPoint, WorkSearch, enforced
from creditline.ledger import Ledger, WithdrawalKind
from tests.index.works_made_up import WIDTH, made_up_works, unit_vectors

_COLLECTION = "works-withdrawn-seen"
_WORKS = 2_000
_WORKS_PER_CONTRIBUTOR = 20
# So many works are listed that a whole contributor would show.
_LISTED = 50
_SEARCH_SECONDS = 30.0
# The graph is built and used for so few works too.
_PLAN = IndexPlan(full_scan_threshold_kilobytes=1, indexing_threshold_kilobytes=1)


@dataclass(frozen=True)
class WithdrawnSeen:
    """What the searches came to.

    `searches` began after the acknowledgement of at least one withdrawal; in `seen` of them something showed
    that had been acknowledged as withdrawn before they began. `shown_before` counts works that were found
    when nobody had withdrawn them yet: had it been 0, nothing could have been seen.
    """

    searches: int
    seen: int
    shown_before: int
    withdrawals: int


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
    """Withdraw works and contributors one after the other while `tasks` tasks search for just those.

    A third of the way on, the index rebuilds its graph on a copy, and goes on being written to. Ends after
    `searches` searches that began after an acknowledgement.
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
    """A work, a contributor, a work …, spread over the searches; each as the gateway does it."""
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
    enforced(index, withdrawn, _COLLECTION)
    return withdrawn


async def _wait_for(count: _Count, searches: int) -> None:
    while count.searches < searches:
        await asyncio.sleep(0.001)


async def _search(
    search: WorkSearch, subjects: Sequence[WorkPoint], count: _Count, random: np.random.Generator
) -> None:
    """Ask for a subject by its own vector: unless it is hidden it comes first."""
    while not count.stopped.is_set():
        subject = subjects[int(random.integers(len(subjects)))]
        before = count.acknowledged
        hits = await search.search(_COLLECTION, subject.vector, _LISTED, deadline_seconds=_SEARCH_SECONDS)
        if before is not NOTHING_WITHDRAWN:
            count.searches += 1
            count.seen += any(before.covers(hit.work_id, hit.contributor) for hit in hits)
        count.shown_before += _shows(hits, subject) and not before.covers(
            subject.work_id, subject.contributor
        )


def _shows(hits: Sequence[Hit], subject: WorkPoint) -> bool:
    return any(hit.work_id == subject.work_id for hit in hits)
