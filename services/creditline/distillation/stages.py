"""Stages of a long computation: each leaves files and, last of all, a mark of what they are.

A stage whose mark is there, fits its inputs and names the very files that are there is not computed again.
A stage that was interrupted goes on in its own directory, unless its inputs have changed since.
Of several processes in one directory, one computes a stage and the others wait for it.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from creditline.build_lock import WAIT_SECONDS, build_lock
from creditline.files import remove_drafts, replace_file, sync_tree
from creditline.release import file_sha256

_MARKS = "stages"


@dataclass(frozen=True)
class Finished:
    """A stage's directory, and the fingerprint of what is in it: 64 hex digits."""

    directory: Path
    fingerprint: str


class Stages:
    """The stages of one run.

    Args:
        directory: The run's directory; each stage has one of its name in it.
        count: Number of stages, for progress messages.
        say: Receives progress messages, a line each.
        wait_seconds: How long to wait for another process that computes a stage.
    """

    def __init__(
        self,
        directory: Path,
        count: int,
        report: Callable[[str], None],
        *,
        wait_seconds: float = WAIT_SECONDS,
    ) -> None:
        self._directory = directory
        self._count = count
        self._report = report
        self._wait_seconds = wait_seconds
        self._number = 0

    def run(self, name: str, inputs: Mapping[str, object], make: Callable[[Path], None]) -> Finished:
        """The stage's files, made by `make` unless they are there already.

        Args:
            name: Name of the stage and of its directory.
            inputs: All that the files depend on, of JSON's kinds.
            make: Writes the files into the directory that it is given.

        Raises:
            Conflict: When another process still computes the stage after `wait_seconds`.
        """
        self._number += 1
        wanted = _digest(inputs)
        directory, mark = self._directory / name, self._directory / _MARKS / f"{name}.json"
        found = self._kept(directory, mark, wanted)
        if found is None:
            with build_lock(directory, wait_seconds=self._wait_seconds, on_wait=self._report):
                # The process that was waited for may have made it.
                found = self._kept(directory, mark, wanted)
                if found is None:
                    return self._made(directory, mark, wanted, make)
        self._report(f"[{self._number}/{self._count}] {name}: there already")
        return found

    def _made(self, directory: Path, mark: Path, wanted: str, make: Callable[[Path], None]) -> Finished:
        self._begin(directory, mark, wanted)
        self._report(f"[{self._number}/{self._count}] {directory.name}")
        started = time.perf_counter()
        make(directory)
        files = _hashes(directory)
        sync_tree(directory)
        _write(mark, json.dumps({"inputs": wanted, "files": files}, indent=1))
        self._report(
            f"[{self._number}/{self._count}] {directory.name}: {time.perf_counter() - started:.0f} s"
        )
        return Finished(directory, _digest(files))

    def _kept(self, directory: Path, mark: Path, wanted: str) -> Finished | None:
        if not mark.is_file():
            return None
        written = json.loads(mark.read_text())
        if written["inputs"] != wanted or _hashes(directory) != written["files"]:
            return None
        return Finished(directory, _digest(written["files"]))

    def _begin(self, directory: Path, mark: Path, wanted: str) -> None:
        """An empty directory, or the one in which the same computation was interrupted."""
        begun = mark.with_suffix(".begun")
        if mark.is_file() or not begun.is_file() or begun.read_text() != wanted:
            shutil.rmtree(directory, ignore_errors=True)
        mark.unlink(missing_ok=True)
        directory.mkdir(parents=True, exist_ok=True)
        remove_drafts(directory)
        _write(begun, wanted)


def _hashes(directory: Path) -> dict[str, str]:
    """SHA-256 of every file, by its path."""
    files = sorted(path for path in directory.rglob("*") if path.is_file())
    return {str(path.relative_to(directory)): file_sha256(path) for path in files}


def _digest(content: Mapping[str, object]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with replace_file(path, durable=True) as draft:
        draft.write_text(text)
