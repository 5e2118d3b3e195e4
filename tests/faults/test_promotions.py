"""The fault run of promotions at a small size; the benchmark switches 100 times."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.faults.promotions import promotions
from tests.local.qdrant_process import local_qdrant


def test_no_query_fails_and_no_answer_mixes_two_builds(tmp_path: Path) -> None:
    with local_qdrant(tmp_path / "qdrant") as running:
        found = asyncio.run(promotions(running.port, switches=24))
    assert found.failures == []
    assert found.mixed == 0
    assert found.switches == 24
    assert len(found.answers) == 2, "both builds answered"
    assert found.queries > 60
