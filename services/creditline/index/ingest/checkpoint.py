"""Progress of an ingest on disk, from which a stopped or killed ingest resumes after the last batch."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Self

from creditline.errors import Conflict, InvalidInput
from creditline.files import replace_file

_SYNC_INTERVAL_SECONDS = 5.0


@dataclass(frozen=True)
class Position:
    """Position in a source: all rows before it have been ingested or listed as broken."""

    part: int = 0
    """Number of the part that comes next, among the parts of the loader."""
    row: int = 0
    """Number of the row that comes next in that part."""
    works: int = 0
    """Number of works written so far."""
    broken: int = 0
    """Number of broken rows so far."""
    broken_bytes: int = 0
    """Size of the list of broken rows at this position, in bytes."""
    finished: bool = False
    """Whether the ingest has reached the end of the source."""


@dataclass(frozen=True)
class Broken:
    """A row of a source that does not hold a usable work."""

    part: str
    """Name of the part."""
    row: int
    """Number of the row in the part."""
    reason: str
    """Why the row cannot be used."""


class Checkpoint:
    """One loader's position and its list of broken rows: `NAME.json` and `NAME.broken.jsonl` in a directory.

    Args:
        directory: Directory of the two files.
        name: Name of the loader.
        belongs_to: Identity of the ingest; a checkpoint of another ingest is never resumed.
        position: Position from which the ingest resumes.
    """

    def __init__(self, directory: Path, name: str, belongs_to: str, position: Position) -> None:
        self._path = directory / f"{name}.json"
        self._belongs_to = belongs_to
        self.broken_rows = directory / f"{name}.broken.jsonl"
        """File that lists the broken rows, one JSON object per line."""
        self.position = position
        """Position that was last noted."""
        self._synchronized_at = time.monotonic()

    @classmethod
    def open(cls, directory: Path, name: str, *, belongs_to: str) -> Self:
        """Open the checkpoint in a directory, or create one at the beginning of the source.

        Raises:
            Conflict: The checkpoint belongs to another ingest.
            InvalidInput: The file is not a checkpoint.
        """
        directory.mkdir(parents=True, exist_ok=True)
        path, position = directory / f"{name}.json", Position()
        if path.is_file():
            position = _read(path, belongs_to)
        opened = cls(directory, name, belongs_to, position)
        opened.broken_rows.touch()
        # Rows listed after the last acknowledged batch are listed again; a power loss may have cut the list.
        kept = min(position.broken_bytes, opened.broken_rows.stat().st_size)
        os.truncate(opened.broken_rows, kept)
        opened.position = replace(position, broken_bytes=kept)
        return opened

    def advance(self, position: Position, broken: Sequence[Broken]) -> None:
        """Record that all rows before `position` are in the index or in the list of broken rows.

        A killed process loses none of it. For the case of a power loss, the files are synchronized to disk
        every few seconds and at the end; resuming from an older checkpoint only overwrites works with
        themselves.

        Args:
            position: The new position; its `broken_bytes` is ignored.
            broken: Broken rows since the last position.
        """
        lines = "".join(json.dumps(asdict(row), ensure_ascii=False) + "\n" for row in broken).encode()
        durable = position.finished or time.monotonic() > self._synchronized_at + _SYNC_INTERVAL_SECONDS
        if lines or durable:
            _append(self.broken_rows, lines, durable=durable)
        self.position = replace(position, broken_bytes=self.position.broken_bytes + len(lines))
        content = {"belongs_to": self._belongs_to, **asdict(self.position)}
        _write(self._path, content, durable=durable)
        if durable:
            self._synchronized_at = time.monotonic()


def _read(path: Path, belongs_to: str) -> Position:
    try:
        content = json.loads(path.read_text())
        found = content.pop("belongs_to")
        position = Position(**content)
    except (ValueError, TypeError, KeyError) as error:
        raise InvalidInput(
            f"{path} is not the checkpoint of an ingest ({error}); remove it to start from the beginning",
            field="checkpoint",
        ) from error
    if found != belongs_to:
        raise Conflict(
            f"{path} belongs to another ingest ({found}, not {belongs_to}); give another directory with"
            " --checkpoint, or remove this one to start from the beginning",
            field="checkpoint",
        )
    return position


def _append(path: Path, lines: bytes, *, durable: bool) -> None:
    with path.open("ab") as file:
        file.write(lines)
        file.flush()
        if durable:
            os.fsync(file.fileno())


def _write(path: Path, content: object, *, durable: bool) -> None:
    with replace_file(path, durable=durable) as draft:
        draft.write_text(json.dumps(content))
