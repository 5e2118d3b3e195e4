"""Temporary files are kept in memory only where there is room for them."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.memory_disk import has_room, remove_abandoned

_SOURCE = """
import tempfile
from pathlib import Path
from tests.memory_disk import use_memory_disk

use_memory_disk()
print(tempfile.gettempdir())
"""


def _reported(path: Path, kilobytes: int) -> Path:
    path.write_text(f"MemTotal:       99999999 kB\nMemAvailable:   {kilobytes} kB\n")
    return path


@pytest.mark.parametrize(
    ("kilobytes", "enough"), [(12 << 20, True), ((12 << 20) - 1, False)], ids=["enough", "too little"]
)
def test_a_machine_without_memory_to_spare_uses_its_disk(
    tmp_path: Path, kilobytes: int, enough: bool
) -> None:
    state = os.statvfs(tmp_path)
    is_large = state.f_bavail * state.f_frsize >= 4 << 30
    assert has_room(tmp_path, _reported(tmp_path / "meminfo", kilobytes)) is (enough and is_large)


def test_a_disk_that_is_absent_or_small_is_not_used(tmp_path: Path) -> None:
    plenty = _reported(tmp_path / "meminfo", 99 << 20)
    assert not has_room(tmp_path / "nowhere", plenty)
    assert not has_room(Path("/proc/self"), plenty)


@pytest.mark.parametrize(
    ("limit", "enough"), [("max", True), (f"{12 << 30}", True), (f"{(12 << 30) - 1}", False)]
)
def test_a_container_with_less_memory_than_its_machine_uses_its_disk(
    tmp_path: Path, limit: str, enough: bool
) -> None:
    plenty, limited = _reported(tmp_path / "meminfo", 99 << 20), tmp_path / "memory.max"
    limited.write_text(f"{limit}\n")
    found = has_room(tmp_path, plenty, (tmp_path / "no such version", limited))
    assert found is (enough and has_room(tmp_path, plenty))


def test_a_report_without_the_free_memory_counts_as_none(tmp_path: Path) -> None:
    (tmp_path / "meminfo").write_text("MemTotal:       99999999 kB\n")
    assert not has_room(tmp_path, tmp_path / "meminfo")


def _process_in(directory: Path) -> subprocess.Popen[str]:
    """A process that has locked its directory, as a run does, and waits."""
    directory.mkdir(parents=True)
    (directory / "large").write_text("content")
    program = f"""
import sys
from pathlib import Path
from tests.memory_disk import running_in

with running_in(Path({str(directory)!r})):
    print("locked", flush=True)
    sys.stdin.read()
"""
    started = subprocess.Popen(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert started.stdout is not None
    assert started.stdout.readline() == "locked\n"
    return started


def test_what_a_killed_run_left_is_removed_and_nothing_of_others(tmp_path: Path) -> None:
    killed, running, ended = (tmp_path / "pytest-of-someone" / f"pytest-{number}" for number in range(3))
    with _process_in(killed) as first, _process_in(running) as second, _process_in(ended) as third:
        first.kill()
        first.wait(timeout=60)
        third.communicate(timeout=60)
        remove_abandoned(tmp_path)
        assert not killed.exists()
        # What failed tests have left is to be looked at.
        assert [(each / "large").exists() for each in (running, ended)] == [True, True]
        second.communicate(timeout=60)
    remove_abandoned(tmp_path)
    assert (running / "large").exists()


def test_this_run_has_locked_its_directory(tmp_path_factory: pytest.TempPathFactory) -> None:
    run = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        run = run.parent
    with (run / ".running").open() as lock, pytest.raises(BlockingIOError):
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_a_given_directory_is_kept(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _SOURCE],
        env={**os.environ, "TMPDIR": str(tmp_path), "PYTHONPATH": str(Path(__file__).parents[1])},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout.strip() == str(tmp_path)
