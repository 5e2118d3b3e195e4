"""Stages of a long computation: each writes files, and finally a mark with the hashes of inputs and files.

A stage is not computed again if its mark exists and matches both its inputs and the files in its directory.
An interrupted stage resumes in its directory, unless its inputs have changed since.
If several processes share a run's directory, one computes a stage and the others wait for it.
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
class FinishedStage:
    """A finished stage."""

    directory: Path
    """Directory of the stage's files."""
    fingerprint: str
    """SHA-256 of the files' paths and hashes: 64 hex digits."""


class Stages:
    """The stages of one run.

    Args:
        directory: The run's directory; each stage has a subdirectory with its name.
        count: Number of stages, for progress messages.
        report: Receives progress messages, one line each.
        wait_seconds: Longest wait for another process that computes a stage, in seconds.
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

    def run(self, name: str, inputs: Mapping[str, object], make: Callable[[Path], None]) -> FinishedStage:
        """Compute a stage, unless its files exist already.

        Args:
            name: Name of the stage and of its directory.
            inputs: Everything that the files depend on, as JSON values.
            make: Writes the files into the directory that is passed to it.

        Returns:
            The finished stage.

        Raises:
            Conflict: Another process is still computing the stage after `wait_seconds`.
        """
        self._number += 1
        digest = _digest(inputs)
        directory, mark = self._directory / name, self._directory / _MARKS / f"{name}.json"
        finished = self._finished(directory, mark, digest)
        if finished is None:
            with build_lock(directory, wait_seconds=self._wait_seconds, on_wait=self._report):
                # Another process may have computed it during the wait.
                finished = self._finished(directory, mark, digest)
                if finished is None:
                    return self._compute(directory, mark, digest, make)
        self._report(f"[{self._number}/{self._count}] {name}: already finished")
        return finished

    def _compute(
        self, directory: Path, mark: Path, digest: str, make: Callable[[Path], None]
    ) -> FinishedStage:
        self._begin(directory, mark, digest)
        self._report(f"[{self._number}/{self._count}] {directory.name}")
        started = time.perf_counter()
        make(directory)
        files = _hashes(directory)
        sync_tree(directory)
        _write(mark, json.dumps({"inputs": digest, "files": files}, indent=1))
        self._report(
            f"[{self._number}/{self._count}] {directory.name}: {time.perf_counter() - started:.0f} s"
        )
        return FinishedStage(directory, _digest(files))

    def _finished(self, directory: Path, mark: Path, digest: str) -> FinishedStage | None:
        """The stage, if its mark matches these inputs and the files in its directory."""
        if not mark.is_file():
            return None
        stored = json.loads(mark.read_text())
        if stored["inputs"] != digest or _hashes(directory) != stored["files"]:
            return None
        return FinishedStage(directory, _digest(stored["files"]))

    def _begin(self, directory: Path, mark: Path, digest: str) -> None:
        """Prepare an empty directory, or resume the one in which the same computation was interrupted."""
        begun = mark.with_suffix(".begun")
        if mark.is_file() or not begun.is_file() or begun.read_text() != digest:
            shutil.rmtree(directory, ignore_errors=True)
        mark.unlink(missing_ok=True)
        directory.mkdir(parents=True, exist_ok=True)
        remove_drafts(directory)
        _write(begun, digest)


def _hashes(directory: Path) -> dict[str, str]:
    """SHA-256 of every file in a directory, by its relative path."""
    files = sorted(path for path in directory.rglob("*") if path.is_file())
    return {str(path.relative_to(directory)): file_sha256(path) for path in files}


def _digest(content: Mapping[str, object]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with replace_file(path, durable=True) as draft:
        draft.write_text(text)
