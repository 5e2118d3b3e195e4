"""The fault run of withdrawals at a small size; the benchmark runs 10,000 searches."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from creditline.ledger import Ledger
from tests.faults.withdrawn_seen import withdrawn_seen
from tests.local.qdrant_process import local_qdrant

_SEARCHES = 300


@pytest.mark.heavy
def test_no_search_after_the_acknowledgement_shows_a_withdrawn_work(tmp_path: Path) -> None:
    with (
        local_qdrant(tmp_path / "qdrant") as running,
        Ledger.open(f"sqlite:///{tmp_path}/ledger.db") as ledger,
    ):
        found = asyncio.run(withdrawn_seen(running.port, ledger, searches=_SEARCHES, tasks=4, withdrawals=12))
        assert ledger.verify_chain().intact
    assert found.seen == 0
    assert found.searches >= _SEARCHES
    assert found.shown_before > 0
    assert found.withdrawals == 12
