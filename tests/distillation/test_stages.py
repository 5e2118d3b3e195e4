"""Stages are kept while inputs and files are the same, and each is computed by one process at a time."""

from __future__ import annotations

import json
import os
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from creditline.distillation.stages import FinishedStage, Stages
from creditline.errors import Conflict
from creditline.files import replace_file
from tests.processes import end, start, wait_until


class Counted:
    """A stage that writes what it is told and counts how often it was asked."""

    def __init__(self, text: str = "a") -> None:
        self.text = text
        self.times = 0

    def __call__(self, directory: Path) -> None:
        self.times += 1
        (directory / "file").write_text(self.text)


def run(directory: Path, make: Counted, seed: int = 0) -> FinishedStage:
    return Stages(directory, 1, lambda line: None).run("one", {"seed": seed}, make)


def test_a_finished_stage_is_not_computed_again(tmp_path: Path) -> None:
    make = Counted()
    assert run(tmp_path, make) == run(tmp_path, make)
    assert make.times == 1


def test_other_inputs_compute_it_again_from_an_empty_directory(tmp_path: Path) -> None:
    make = Counted()
    run(tmp_path, make)
    (tmp_path / "one" / "old").write_text("left over")
    again = run(tmp_path, make, seed=1)
    assert make.times == 2
    assert [path.name for path in again.directory.iterdir()] == ["file"]


@pytest.mark.parametrize("harm", ["changed", "gone"])
def test_a_file_that_changed_or_went_computes_it_again(tmp_path: Path, harm: str) -> None:
    make = Counted()
    first = run(tmp_path, make)
    path = first.directory / "file"
    path.write_text("other") if harm == "changed" else path.unlink()
    assert run(tmp_path, make) == first
    assert make.times == 2


def test_an_interrupted_stage_goes_on_in_its_directory_unless_inputs_changed(tmp_path: Path) -> None:
    def cut_off(directory: Path) -> None:
        (directory / "half").write_text("half")
        raise KeyboardInterrupt

    def finish(directory: Path) -> None:
        (directory / "whole").write_text((directory / "half").read_text())

    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            Stages(tmp_path, 1, lambda line: None).run("one", {"seed": 0}, cut_off)
    Stages(tmp_path, 1, lambda line: None).run("one", {"seed": 0}, finish)
    assert (tmp_path / "one" / "whole").read_text() == "half"
    with pytest.raises(FileNotFoundError):
        Stages(tmp_path, 1, lambda line: None).run("one", {"seed": 1}, finish)


def test_the_fingerprint_is_that_of_the_content(tmp_path: Path) -> None:
    first, same, other = (
        run(tmp_path / name, Counted(text), seed)
        for name, text, seed in (("a", "x", 0), ("b", "x", 1), ("c", "y", 0))
    )
    assert first.fingerprint == same.fingerprint != other.fingerprint


class Report:
    """What the processes of a test do, as empty files `PID.what` that all of them and the test see."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def add(self, what: str) -> None:
        (self.directory / f"{os.getpid()}.{what}").touch()

    def report(self, line: str) -> None:
        if "waiting for" in line:
            self.add("waits")

    def found(self) -> list[str]:
        return sorted(path.suffix.removeprefix(".") for path in self.directory.iterdir())


def _stage_of_all(directory: Path, report: Report, processes: int) -> None:
    """Compute the stage, which ends only when every process either computes it or waits."""

    def make(stage: Path) -> None:
        report.add("computes")
        wait_until(lambda: len(report.found()) == processes, "all processes have come to the stage")
        (stage / "file").write_text("a")

    Stages(directory, 1, report.report).run("one", {"seed": 0}, make)


@pytest.fixture
def report(tmp_path: Path) -> Report:
    (tmp_path / "report").mkdir()
    return Report(tmp_path / "report")


@pytest.mark.parametrize("processes", [2, 4])
def test_of_processes_started_at_once_one_computes_the_stage_and_the_others_take_it(
    tmp_path: Path, report: Report, processes: int
) -> None:
    started = [start(_stage_of_all, tmp_path / "run", report, processes) for _ in range(processes)]
    assert end(*started) == [0] * processes
    assert report.found() == ["computes"] + ["waits"] * (processes - 1)
    make = Counted()
    assert run(tmp_path / "run", make).fingerprint == run(tmp_path / "alone", Counted()).fingerprint
    assert make.times == 0


def _stage_without_end(directory: Path, report: Report) -> None:
    def make(stage: Path) -> None:
        (stage / "half").write_text("half")
        with replace_file(stage / "file") as draft:
            draft.write_text("never finished")
            report.add("computes")
            wait_until(lambda: False, "killed by the test")

    Stages(directory, 1, report.report).run("one", {"seed": 0}, make)


@pytest.fixture
def endless(tmp_path: Path, report: Report) -> BaseProcess:
    """A process that computes the stage of `tmp_path / "run"` and does not come to an end."""
    process = start(_stage_without_end, tmp_path / "run", report)
    wait_until(lambda: report.found() == ["computes"], "the stage is begun")
    return process


def test_who_waits_goes_on_where_a_killed_process_was_and_its_drafts_are_not_part_of_the_stage(
    tmp_path: Path, endless: BaseProcess
) -> None:
    def kill_when_waited_for(line: str) -> None:
        if "waiting for" in line:
            endless.kill()

    def finish(stage: Path) -> None:
        (stage / "whole").write_text((stage / "half").read_text())

    Stages(tmp_path / "run", 1, kill_when_waited_for).run("one", {"seed": 0}, finish)
    endless.join()
    mark = json.loads((tmp_path / "run" / "stages" / "one.json").read_text())
    assert sorted(mark["files"]) == ["half", "whole"]


def test_a_stage_that_another_process_does_not_end_is_given_up_after_the_wait(
    tmp_path: Path, endless: BaseProcess
) -> None:
    stages = Stages(tmp_path / "run", 1, lambda line: None, wait_seconds=0.2)
    with pytest.raises(Conflict, match=f"one is still being built by process {endless.pid}"):
        stages.run("one", {"seed": 0}, Counted())
    assert (tmp_path / "run" / "one" / "half").read_text() == "half"
    endless.kill()
    endless.join()
