"""One process at a time builds; the others wait for it, and take over however it ends."""

from __future__ import annotations

import os
import socket
import threading
from pathlib import Path

import pytest

from creditline.build_lock import build_lock
from creditline.errors import Conflict
from tests.processes import end, start, wait_until


def _hold_for_ever(target: Path) -> None:
    with build_lock(target):
        target.touch()
        threading.Event().wait()


def _build_once(target: Path, reports: Path) -> None:
    def note(what: str) -> None:
        (reports / f"{os.getpid()}.{what}").touch()

    with build_lock(target, on_wait=lambda line: note("waits")):
        if not target.exists():
            note("builds")
            # Whoever builds first goes on only when the other has come to the lock, or builds too.
            wait_until(lambda: len(list(reports.iterdir())) >= 2, "both have come")
            target.touch()


def test_of_two_processes_started_at_once_one_builds(tmp_path: Path) -> None:
    reports = tmp_path / "reports"
    reports.mkdir()
    processes = [start(_build_once, tmp_path / "made", reports) for _ in range(2)]
    assert end(*processes) == [0, 0]
    assert sorted(path.suffix for path in reports.iterdir()) == [".builds", ".waits"]


def test_a_killed_holder_lets_the_next_one_in(tmp_path: Path) -> None:
    holder = start(_hold_for_ever, tmp_path / "made")
    wait_until((tmp_path / "made").exists, "the holder has the lock")
    waited: list[str] = []

    def kill_when_waited_for(line: str) -> None:
        waited.append(line)
        holder.kill()

    with build_lock(tmp_path / "made", wait_seconds=30.0, on_wait=kill_when_waited_for):
        holder.join()
    assert waited == [
        f"made: waiting for process {holder.pid} on {socket.gethostname()}, which is building it"
    ]


def test_a_holder_that_does_not_end_is_named_after_the_wait(tmp_path: Path) -> None:
    holder = start(_hold_for_ever, tmp_path / "made")
    wait_until((tmp_path / "made").exists, "the holder has the lock")
    with (
        pytest.raises(Conflict, match=rf"made is still being built by process {holder.pid} on .* after 0\.2"),
        build_lock(tmp_path / "made", wait_seconds=0.2),
    ):
        pytest.fail("two processes have the lock")
    holder.kill()
    holder.join()


def test_threads_exclude_each_other_and_a_failed_builder_lets_the_next_in(tmp_path: Path) -> None:
    failures: list[str] = []

    def build(name: str) -> None:
        try:
            with build_lock(tmp_path / "made", wait_seconds=0.0):
                failures.append(f"{name} has the lock")
                raise RuntimeError
        except (Conflict, RuntimeError) as error:
            failures.append(f"{name}: {type(error).__name__}")

    with build_lock(tmp_path / "made"):
        second = threading.Thread(target=build, args=("second",))
        second.start()
        second.join()
    assert failures == ["second: Conflict"]
    build("third")
    build("fourth")
    assert failures[1:] == [
        "third has the lock",
        "third: RuntimeError",
        "fourth has the lock",
        "fourth: RuntimeError",
    ]


def test_directories_above_the_target_are_made(tmp_path: Path) -> None:
    with build_lock(tmp_path / "a" / "b" / "made"):
        assert (tmp_path / "a" / "b").is_dir()
    assert not (tmp_path / "a" / "b" / "made").exists()
