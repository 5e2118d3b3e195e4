"""The fault run of killed engines at a small size; the benchmark kills 20 times."""

from __future__ import annotations

from pathlib import Path

from tests.faults.killed_ingest import killed_ingest


def test_works_acknowledged_before_a_kill_are_stored_once_after_it(tmp_path: Path) -> None:
    found = killed_ingest(tmp_path, works=20_000, kills=3)
    assert found.kills == 3
    assert (found.lost, found.doubled, found.missing) == (0, 0, 0)
    assert 0 < found.acknowledged[-1] < 20_000
