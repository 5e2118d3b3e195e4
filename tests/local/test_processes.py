"""A service under its guardian: however it ends, no process is left."""

from __future__ import annotations

import sys
import time
import uuid
from pathlib import Path

import pytest

from creditline.errors import Unavailable
from creditline.local.processes import ServicePlan, ServiceProcess
from tests.local.processes_left import await_none_naming, processes_naming

_STUBBORN = """
import pathlib, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)", sys.argv[1]])
pathlib.Path(sys.argv[2]).touch()
time.sleep(600)
"""
_POLITE = """
import pathlib, signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: (print("said goodbye", flush=True), sys.exit(0)))
pathlib.Path(sys.argv[2]).touch()
time.sleep(600)
"""


def _started(directory: Path, script: str, mark: str, **options: float) -> ServiceProcess:
    ready = directory / "ready"
    plan = ServicePlan(
        name="made-up",
        command=(sys.executable, "-c", script, mark, str(ready)),
        address="nowhere",
        is_healthy=ready.exists,
        **options,
    )
    return ServiceProcess(plan, directory / "made-up.log")


@pytest.fixture
def mark() -> str:
    """A text that identifies the processes of one test."""
    return f"mark-{uuid.uuid4().hex}"


def test_a_service_that_handles_sigterm_is_stopped_gracefully(tmp_path: Path, mark: str) -> None:
    service = _started(tmp_path, _POLITE, mark)
    service.wait_until_healthy()
    service.stop()
    assert service.exit_status() == 0
    assert "said goodbye" in service.log_tail()
    await_none_naming(mark)


def test_a_service_that_ignores_sigterm_is_killed_with_its_children_after_the_grace_period(
    tmp_path: Path, mark: str
) -> None:
    service = _started(tmp_path, _STUBBORN, mark, grace_seconds=0.5)
    service.wait_until_healthy()
    assert len(processes_naming(mark)) == 3
    began = time.monotonic()
    service.stop()
    assert 0.4 < time.monotonic() - began < 60
    await_none_naming(mark)


def test_a_service_that_ends_while_it_starts_is_reported_with_the_end_of_its_log(tmp_path: Path) -> None:
    script = "print('first the bad news: no disk'); raise SystemExit(3)"
    service = _started(tmp_path, script, "none")
    with pytest.raises(Unavailable, match=r"made-up ended with status 3(?s:.*)no disk") as failure:
        service.wait_until_healthy()
    assert failure.value.service == "made-up"


def test_a_service_that_never_becomes_healthy_is_reported_with_its_log(tmp_path: Path, mark: str) -> None:
    script = "import time; print('thinking', flush=True); time.sleep(600)"
    service = _started(tmp_path, script, mark, start_seconds=1.0)
    with pytest.raises(Unavailable, match=r"not healthy at nowhere after 1 s(?s:.*)thinking"):
        service.wait_until_healthy()
    service.stop()
    await_none_naming(mark)


def test_a_command_that_does_not_exist_is_reported(tmp_path: Path) -> None:
    plan = ServicePlan("made-up", ("/no/such/program",), "nowhere", lambda: False)
    service = ServiceProcess(plan, tmp_path / "made-up.log")
    with pytest.raises(Unavailable, match="cannot start /no/such/program"):
        service.wait_until_healthy()
