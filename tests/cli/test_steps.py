"""The narrator: a person always learns what is going on."""

from __future__ import annotations

import io
import re
import time

import pytest
from rich.console import Console

from creditline.cli.steps import StepPrinter


@pytest.fixture
def log() -> io.StringIO:
    return io.StringIO()


def _narrator(log: io.StringIO, steps: int = 2, log_seconds: float = 10.0) -> StepPrinter:
    return StepPrinter(Console(file=log, width=100), steps, log_seconds=log_seconds)


def test_a_step_is_announced_before_its_work_and_timed_after_it(log: io.StringIO) -> None:
    with _narrator(log).step("Starting"):
        assert "1/2 Starting" in log.getvalue()
        assert "done" not in log.getvalue()
    assert re.search(r"done in \d+\.\d s", log.getvalue())


def test_steps_are_counted(log: io.StringIO) -> None:
    steps = _narrator(log)
    for title in ("one", "two"):
        with steps.step(title):
            steps.report(f"within {title}")
    said = log.getvalue()
    positions = [said.index(part) for part in ("1/2 one", "within one", "2/2 two", "within two")]
    assert positions == sorted(positions)


def test_a_log_hears_again_and_again_what_a_long_step_is_at(log: io.StringIO) -> None:
    steps = _narrator(log, log_seconds=0.02)
    with steps.step("Auditing"):
        steps.doing("waiting for a worker")
        until = time.monotonic() + 10.0
        while log.getvalue().count("waiting for a worker") < 2 and time.monotonic() < until:
            time.sleep(0.01)
    assert log.getvalue().count("waiting for a worker") >= 2


def test_a_step_that_fails_is_not_said_to_be_done(log: io.StringIO) -> None:
    with pytest.raises(ZeroDivisionError), _narrator(log).step("Dividing"):
        _ = 1 / 0
    assert "Dividing" in log.getvalue()
    assert "done" not in log.getvalue()
