"""Replaced files and directories are complete or unchanged, with concurrent writers and killed processes."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from creditline.evaluation.lab.judging.groups import GroupScores, write_group_scores
from creditline.evaluation.lab.record import RecordFingerprints
from creditline.files import remove_drafts, replace_directory, replace_file, sync_tree
from creditline.index.ingest.checkpoint import Checkpoint, Counts, Position
from creditline.local.state import StackState, StateDirectory
from creditline.tensor_files import read_arrays, write_arrays
from tests.processes import start, wait_until


class Failed(Exception):
    """An error in the block that writes a draft."""


@pytest.fixture
def umask() -> Iterator[Callable[[int], None]]:
    """Sets the process's umask until the test ends."""
    before = os.umask(0o022)
    yield lambda mask: (os.umask(mask), None)[1]
    os.umask(before)


def permissions(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_file_has_the_old_content_until_the_block_ends(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    path.write_text("old")
    with replace_file(path) as draft:
        draft.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def _fail_while_writing(path: Path) -> None:
    with replace_file(path) as draft:
        draft.write_text("half")
        draft.with_name("beside").write_text("a writer's own temporary file")
        raise Failed


@pytest.mark.parametrize("existed", [False, True])
def test_a_block_that_fails_leaves_the_old_file_and_no_draft(tmp_path: Path, existed: bool) -> None:
    path = tmp_path / "state.json"
    if existed:
        path.write_text("old")
    with pytest.raises(Failed):
        _fail_while_writing(path)
    assert [found.read_text() for found in tmp_path.iterdir()] == ["old"] * existed


def test_a_draft_has_the_files_own_name_so_that_writers_that_add_a_suffix_do_not(tmp_path: Path) -> None:
    with replace_file(tmp_path / "rows.npy") as draft:
        np.save(draft, np.arange(3))
    with replace_file(tmp_path / "parts.npz") as draft:
        np.savez(draft, rows=np.arange(4))
    assert np.load(tmp_path / "rows.npy").tolist() == [0, 1, 2]
    assert np.load(tmp_path / "parts.npz")["rows"].tolist() == [0, 1, 2, 3]


def test_a_name_as_long_as_names_may_be_is_written(tmp_path: Path) -> None:
    path = tmp_path / ("ä" * 120 + ".json")
    with replace_file(path) as draft:
        draft.write_text("new")
    assert path.read_text() == "new"


@pytest.mark.parametrize(("mask", "expected"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_permissions_are_those_of_an_ordinary_new_file(
    tmp_path: Path, umask: Callable[[int], None], mask: int, expected: int
) -> None:
    umask(mask)
    with replace_file(tmp_path / "plain") as draft:
        draft.write_text("new")
    # safetensors makes its files 0600.
    write_arrays(tmp_path / "a.safetensors", {"a": np.zeros(2)})
    assert permissions(tmp_path / "plain") == permissions(tmp_path / "a.safetensors") == expected


def test_requested_permissions_hold_from_the_start(tmp_path: Path) -> None:
    with replace_file(tmp_path / "key", mode=0o600) as draft:
        assert permissions(draft) == 0o600
        assert permissions(draft.parent) == 0o700
        draft.write_text("secret")
    assert permissions(tmp_path / "key") == 0o600


def test_two_writers_of_one_process_number_do_not_share_a_draft(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    with replace_file(path) as first, replace_file(path) as second:
        first.write_text("first")
        second.write_text("second")
    assert path.read_text() == "first"  # whose block ended last


def _lab_arrays(directory: Path, number: int) -> None:
    values = {"a": np.full((1000, 1), number, dtype=np.float32)}
    scores = GroupScores(("Ann",), values, tuple(range(1000)), RecordFingerprints("generator", "record"))
    write_group_scores(scores, directory / "a.safetensors")


def _lab_arrays_are_whole(directory: Path) -> bool:
    values = read_arrays(directory / "a.safetensors")[0]["a"]
    return len(np.unique(values)) == 1


def _local_state(directory: Path, number: int) -> None:
    addresses = [str(number)] * 7
    StateDirectory(directory).write(StackState(number, *addresses, services=()))


def _local_state_is_whole(directory: Path) -> bool:
    state = StateDirectory(directory).read()
    return state is not None and state.api_key == str(state.supervisor)


def _checkpoint(directory: Path, number: int) -> None:
    Checkpoint(directory, "load", "belongs", Position()).advance(Position(counts=Counts(written=number)), ())


def _checkpoint_is_whole(directory: Path) -> bool:
    return Checkpoint.open(directory, "load", belongs_to="belongs").position.works % 1000 < _WRITES


_WRITERS, _WRITES = 4, 50


@pytest.mark.parametrize(
    ("write", "is_whole"),
    [
        (_lab_arrays, _lab_arrays_are_whole),
        (_local_state, _local_state_is_whole),
        (_checkpoint, _checkpoint_is_whole),
    ],
)
def test_writers_of_one_file_at_once_all_succeed_and_leave_a_whole_file(
    tmp_path: Path, write: Callable[[Path, int], None], is_whole: Callable[[Path], bool]
) -> None:
    """In one process, so that they have one process number, as in two containers."""
    failures: list[Exception] = []

    def write_often(writer: int) -> None:
        try:
            for number in range(_WRITES):
                write(tmp_path, 1000 * writer + number)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=write_often, args=(writer,)) for writer in range(_WRITERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert is_whole(tmp_path)


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Paths that are passed to fsync, in order, as they are named at that moment."""
    paths: list[str] = []
    fsync = os.fsync

    def record(descriptor: int) -> None:
        paths.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", record)
    return paths


def test_a_durable_file_is_on_disk_before_it_has_its_name_and_its_name_before_the_end(
    tmp_path: Path, synced: list[str]
) -> None:
    path = tmp_path / "state.json"
    with replace_file(path, durable=True) as draft:
        draft.write_text("new")
        written = str(draft)
    assert synced == [written, str(tmp_path)]
    with replace_file(path) as draft:
        draft.write_text("newer")
    assert len(synced) == 2


def test_a_durable_directory_is_on_disk_with_all_its_files_first(tmp_path: Path, synced: list[str]) -> None:
    with replace_directory(tmp_path / "model", durable=True) as draft:
        (draft / "part").mkdir()
        (draft / "part" / "weights").write_text("w")
        (draft / "index").write_text("i")
    *files, last = synced
    assert last == str(tmp_path)
    assert {str(Path(found).relative_to(draft)) for found in files} == {".", "index", "part", "part/weights"}


def test_syncing_a_tree_passes_over_links_to_nothing(tmp_path: Path, synced: list[str]) -> None:
    (tmp_path / "gone").symlink_to(tmp_path / "nothing")
    sync_tree(tmp_path)
    assert synced == [str(tmp_path)]


def test_a_directory_has_the_old_files_until_the_block_ends(tmp_path: Path) -> None:
    path = tmp_path / "model"
    path.mkdir()
    (path / "old").write_text("old")
    with replace_directory(path) as draft:
        (draft / "new").write_text("new")
        assert [found.name for found in path.iterdir()] == ["old"]
    assert [found.name for found in path.iterdir()] == ["new"]
    assert list(tmp_path.iterdir()) == [path]


def _fail_while_filling(path: Path) -> None:
    with replace_directory(path) as draft:
        (draft / "new").write_text("new")
        raise Failed


def test_a_block_that_fails_leaves_the_directory_that_was_there(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "old").write_text("old")
    with pytest.raises(Failed):
        _fail_while_filling(tmp_path / "model")
    assert [str(found.relative_to(tmp_path)) for found in tmp_path.rglob("*")] == ["model", "model/old"]


def test_a_directory_in_the_place_of_a_file_is_refused_and_the_file_is_kept(tmp_path: Path) -> None:
    (tmp_path / "model").write_text("a file")
    with pytest.raises(NotADirectoryError), replace_directory(tmp_path / "model") as draft:
        (draft / "new").write_text("new")
    assert (tmp_path / "model").read_text() == "a file"


def test_directories_replaced_at_once_end_as_one_of_them(tmp_path: Path) -> None:
    with replace_directory(tmp_path / "model") as first:
        (first / "first").touch()
        with replace_directory(tmp_path / "model") as second:
            (second / "second").touch()
    assert [found.name for found in (tmp_path / "model").iterdir()] == ["first"]


def test_drafts_of_killed_processes_are_removed_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "kept.json").write_text("kept")
    process = start(_write_for_ever, tmp_path / "deep" / "state.json")
    wait_until(lambda: len(list(tmp_path.rglob("state.json"))) == 1, "the draft is begun")
    process.kill()
    process.join()
    assert len(list((tmp_path / "deep").iterdir())) == 2
    remove_drafts(tmp_path)
    assert [found.name for found in (tmp_path / "deep").iterdir()] == ["kept.json"]
    remove_drafts(tmp_path / "missing")


def _write_for_ever(path: Path) -> None:
    with replace_file(path) as draft:
        draft.write_text("half")
        threading.Event().wait()
