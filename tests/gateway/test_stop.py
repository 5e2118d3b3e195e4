"""A gateway that stops while its ledger is stuck: it ends in time all the same."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

from tests.benchmarks.load.gateway_process import gateway_process
from tests.ledger.database.test_threads import write_lock

# The grace of running requests, and the last writes to the ledger.
_STOP_SECONDS = 15.0


def test_a_stop_does_not_wait_for_a_ledger_that_another_process_has_locked(tmp_path: Path) -> None:
    with contextlib.ExitStack() as held:
        with gateway_process(tmp_path):
            held.enter_context(write_lock(tmp_path / "ledger.db"))
            began = time.monotonic()
        assert time.monotonic() - began < _STOP_SECONDS
    assert "Traceback" not in (tmp_path / "gateway.log").read_text()
