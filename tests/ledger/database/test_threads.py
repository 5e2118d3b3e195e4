"""A ledger that is stuck: what waits for it fails in time, and nothing else is delayed."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from creditline.errors import Unavailable
from creditline.ledger import Ledger, StoreLimits
from creditline.ledger.database.threads import CallLimits, LedgerThreads
from tests.ledger.conftest import record

_LIMITS = StoreLimits(lock_seconds=0.2)


@contextmanager
def write_lock(path: Path) -> Iterator[None]:
    """Hold the lock of a SQLite ledger's writers, as a process does that is stuck in a transaction."""
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        holder.rollback()
        holder.close()


def test_a_write_fails_in_time_while_another_process_holds_the_lock_and_reads_go_on(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    with Ledger.open(f"sqlite:///{path}", limits=_LIMITS) as ledger:
        attribution_id = record(ledger)
        with write_lock(path):
            began = time.monotonic()
            with pytest.raises(Unavailable, match="holds a lock") as stuck:
                record(ledger)
            assert time.monotonic() - began < 2.0
            assert stuck.value.retry_after_seconds == 2.0
            assert ledger.attribution(attribution_id).id == attribution_id
        record(ledger)
        assert ledger.verify_chain().attributions == 2


async def _call(threads: LedgerThreads, release: threading.Event) -> list[str]:
    """Outcomes of three stuck writes, and of a read meanwhile."""
    writes = [asyncio.create_task(threads.write(release.wait)) for _ in range(3)]
    await asyncio.sleep(0.05)
    assert await threads.read(lambda: "read") == "read"
    outcomes = await asyncio.gather(*writes, return_exceptions=True)
    return [outcome.message if isinstance(outcome, Unavailable) else str(outcome) for outcome in outcomes]


def test_calls_that_wait_too_long_or_are_too_many_are_refused() -> None:
    release = threading.Event()
    threads = LedgerThreads(CallLimits(waiting=2, seconds=0.3))
    try:
        first, second, third = asyncio.run(_call(threads, release))
        assert "was not written within 0.3 s" in first
        assert "was not written within 0.3 s" in second
        assert "2 calls wait for the ledger" in third
        # The second never ran; the first still does.
        assert threads.waiting == (0, 1)
    finally:
        release.set()
        threads.close()
    assert threads.waiting == (0, 0)


def test_writes_run_in_their_order_and_reads_beside_them() -> None:
    order: list[int] = []

    async def run() -> None:
        await asyncio.gather(*(threads.write(order.append, number) for number in range(20)))

    threads = LedgerThreads()
    asyncio.run(run())
    threads.close()
    assert order == list(range(20))
