"""Stages are kept while their inputs and files are the same, and computed again when they are not."""

from __future__ import annotations

from pathlib import Path

import pytest

from creditline.distillation.stages import Finished, Stages


class Counted:
    """A stage that writes what it is told and counts how often it was asked."""

    def __init__(self, text: str = "a") -> None:
        self.text = text
        self.times = 0

    def __call__(self, directory: Path) -> None:
        self.times += 1
        (directory / "file").write_text(self.text)


def run(directory: Path, make: Counted, seed: int = 0) -> Finished:
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
