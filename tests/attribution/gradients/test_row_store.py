"""Rows on disk: computed block by block, the same bytes after any interruption, refused when truncated."""

from __future__ import annotations

import json
import multiprocessing
import os
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from creditline.attribution.gradients.row_store import stored_rows
from creditline.errors import FingerprintMismatch, InvalidInput
from tests.processes import end, start, wait_until

ORIGIN = {"generator": "g" * 64, "corpus": "c" * 64}
COUNT, BLOCK = 11, 4
_MANY, _SECONDS_PER_ROW = 1_000, 0.005


class Killed(Exception):
    """Simulates the end of the process."""


def random_rows(part: range) -> NDArray[np.float32]:
    """Row i is drawn from seed i: (rows, 2, 3)."""
    return np.stack([np.random.default_rng(row).random((2, 3), dtype=np.float32) for row in part])


@dataclass
class Computing:
    """`random_rows` that records the requested ranges and fails at block number `breaks_at`."""

    breaks_at: int | None = None
    asked: list[range] = field(default_factory=list)

    def __call__(self, part: range) -> NDArray[np.float32]:
        if len(self.asked) == self.breaks_at:
            raise Killed
        self.asked.append(part)
        return random_rows(part)


def stored_bytes(path: Path) -> tuple[bytes, bytes]:
    return path.with_suffix(".npy").read_bytes(), path.with_suffix(".json").read_bytes()


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    """Rows of a process that finished."""
    stored_rows(tmp_path / "whole", ORIGIN, COUNT, random_rows, block=BLOCK)
    return tmp_path / "whole"


@pytest.fixture
def broken_off(tmp_path: Path) -> Path:
    """Rows of a process that ended after two of three blocks."""
    with pytest.raises(Killed):
        stored_rows(tmp_path / "broken", ORIGIN, COUNT, Computing(breaks_at=2), block=BLOCK)
    return tmp_path / "broken"


@pytest.mark.parametrize("block", [1, 4, 11, 100])
def test_every_row_is_as_it_was_computed_whatever_the_block(tmp_path: Path, block: int) -> None:
    found = stored_rows(tmp_path / "deep" / "rows", ORIGIN, COUNT, random_rows, block=block)
    np.testing.assert_array_equal(found, random_rows(range(COUNT)))
    assert found.dtype == np.float32


def test_stored_rows_are_read_and_not_computed_again(whole: Path) -> None:
    found = stored_rows(whole, ORIGIN, COUNT, Computing(breaks_at=0), block=BLOCK)
    np.testing.assert_array_equal(found, random_rows(range(COUNT)))


def test_opened_rows_are_read_only(whole: Path) -> None:
    found = stored_rows(whole, ORIGIN, COUNT, random_rows, block=BLOCK)
    with pytest.raises(ValueError, match="read-only"):
        found[0] = 0.0


@pytest.mark.parametrize("breaks_at", [0, 1, 2])
def test_rows_interrupted_at_any_block_resume_there_and_end_with_the_same_bytes(
    whole: Path, tmp_path: Path, breaks_at: int
) -> None:
    path = tmp_path / "broken"
    with pytest.raises(Killed):
        stored_rows(path, ORIGIN, COUNT, Computing(breaks_at), block=BLOCK)
    rest = Computing()
    stored_rows(path, ORIGIN, COUNT, rest, block=BLOCK)
    assert rest.asked == [range(0, 4), range(4, 8), range(8, 11)][breaks_at:]
    assert stored_bytes(path) == stored_bytes(whole)


@pytest.mark.parametrize("rows_done", [8, 200])
def test_rows_of_a_killed_process_end_with_the_bytes_of_one_that_finished(
    tmp_path: Path, rows_done: int
) -> None:
    process = multiprocessing.get_context("spawn").Process(target=_fill_slowly, args=(tmp_path / "killed",))
    process.start()
    deadline = time.monotonic() + 60
    while _counted(tmp_path / "killed") < rows_done and time.monotonic() < deadline:
        time.sleep(0.001)
    process.kill()
    process.join()
    assert rows_done <= _counted(tmp_path / "killed") < _MANY
    for name in ("killed", "through"):
        stored_rows(tmp_path / name, ORIGIN, _MANY, random_rows, block=BLOCK)
    assert stored_bytes(tmp_path / "killed") == stored_bytes(tmp_path / "through")


def test_of_two_processes_started_at_once_one_computes_the_rows(whole: Path, tmp_path: Path) -> None:
    reports = tmp_path / "reports"
    reports.mkdir()
    processes = [start(_fill_beside_another, tmp_path / "rows", reports) for _ in range(2)]
    assert end(*processes) == [0, 0]
    assert sorted(path.suffix for path in reports.iterdir()) == [".computes", ".waits"]
    assert stored_bytes(tmp_path / "rows") == stored_bytes(whole)


def _fill_beside_another(path: Path, reports: Path) -> None:
    def note(what: str) -> None:
        (reports / f"{os.getpid()}.{what}").touch()

    def compute(part: range) -> NDArray[np.float32]:
        note("computes")
        wait_until(lambda: len(list(reports.iterdir())) == 2, "both processes have come to the rows")
        return random_rows(part)

    stored_rows(path, ORIGIN, COUNT, compute, block=BLOCK, report=lambda line: note("waits"))


def _fill_slowly(path: Path) -> None:
    def slow(part: range) -> NDArray[np.float32]:
        time.sleep(_SECONDS_PER_ROW * len(part))
        return random_rows(part)

    stored_rows(path, ORIGIN, _MANY, slow, block=BLOCK)


def _counted(path: Path) -> int:
    progress = path.with_suffix(".json")
    return int(json.loads(progress.read_text())["rows"]) if progress.exists() else 0


@pytest.mark.parametrize("key", sorted(ORIGIN))
def test_rows_made_from_something_else_are_refused_naming_what_differs(
    whole: Path, broken_off: Path, key: str
) -> None:
    for path in (whole, broken_off):
        with pytest.raises(
            FingerprintMismatch, match=rf"made with {key} .* use another directory"
        ) as refused:
            stored_rows(path, ORIGIN | {key: "other"}, COUNT, random_rows, block=BLOCK)
        assert refused.value.field == key


@pytest.mark.parametrize("count", [COUNT - 1, COUNT + 1])
def test_rows_of_more_or_fewer_works_are_refused(whole: Path, broken_off: Path, count: int) -> None:
    for path in (whole, broken_off):
        with pytest.raises(FingerprintMismatch, match=f"holds 11 works, not {count}; use another directory"):
            stored_rows(path, ORIGIN, count, random_rows, block=BLOCK)


@pytest.mark.parametrize("kept_bytes", [0, 5, 60, -1])
def test_truncated_rows_are_refused_with_advice(whole: Path, broken_off: Path, kept_bytes: int) -> None:
    """Unfinished rows, too: the missing part must not be filled with zeros."""
    for path in (whole, broken_off):
        cut = path.with_suffix(".npy")
        cut.write_bytes(cut.read_bytes()[:kept_bytes])
        with pytest.raises(InvalidInput, match=r"npy is truncated .* delete it and run the command again"):
            stored_rows(path, ORIGIN, COUNT, random_rows, block=BLOCK)


@pytest.mark.parametrize("kept_bytes", [0, 20, -1])
def test_a_truncated_count_is_refused_with_advice(whole: Path, kept_bytes: int) -> None:
    cut = whole.with_suffix(".json")
    cut.write_text(cut.read_text()[:kept_bytes])
    with pytest.raises(InvalidInput, match=r"json is truncated .* delete it and run the command again"):
        stored_rows(whole, ORIGIN, COUNT, random_rows, block=BLOCK)


@pytest.mark.parametrize("suffix", [".npy", ".json"])
def test_whichever_file_is_deleted_the_rows_are_made_again(whole: Path, suffix: str) -> None:
    expected = stored_bytes(whole)
    whole.with_suffix(suffix).unlink()
    stored_rows(whole, ORIGIN, COUNT, random_rows, block=BLOCK)
    assert stored_bytes(whole) == expected
