"""How far an ingest has come, on disk: after each acknowledged batch, so that a killed one goes on there."""

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

_SYNCHRONIZED_EVERY_SECONDS = 5.0


@dataclass(frozen=True)
class Position:
    """Everything of the source before `row` of part `part` is done. Counts are of what was done so far.

    broken_bytes: how much of the list of broken rows belongs to it.
    """

    part: int = 0
    row: int = 0
    works: int = 0
    broken: int = 0
    broken_bytes: int = 0
    finished: bool = False


@dataclass(frozen=True)
class Broken:
    """A row of a source that is no work, and why."""

    part: str
    row: int
    reason: str


class Checkpoint:
    """One loader's position and its list of broken rows: `NAME.json` and `NAME.broken.jsonl` in a directory.

    `belongs_to` says what is loaded into what: a checkpoint of something else is never gone on with.
    """

    def __init__(self, directory: Path, name: str, belongs_to: str, position: Position) -> None:
        self._path = directory / f"{name}.json"
        self._belongs_to = belongs_to
        self.broken_rows = directory / f"{name}.broken.jsonl"
        self.position = position
        self._synchronized = time.monotonic()

    @classmethod
    def open(cls, directory: Path, name: str, *, belongs_to: str) -> Self:
        """Go on with what is there, or begin. Raises Conflict when it belongs to another ingest."""
        directory.mkdir(parents=True, exist_ok=True)
        path, position = directory / f"{name}.json", Position()
        if path.is_file():
            position = _read(path, belongs_to)
        opened = cls(directory, name, belongs_to, position)
        opened.broken_rows.touch()
        # What was listed after the last acknowledged batch comes again; a power loss may have taken more.
        kept = min(position.broken_bytes, opened.broken_rows.stat().st_size)
        os.truncate(opened.broken_rows, kept)
        opened.position = replace(position, broken_bytes=kept)
        return opened

    def advance(self, position: Position, broken: Sequence[Broken]) -> None:
        """Note that all before `position` is in the index or in the list.

        A killed process loses nothing of it. Against a power loss it is synchronized every few seconds, and
        at the end: a checkpoint from before only makes works written once more, onto themselves.
        """
        lines = "".join(json.dumps(asdict(row), ensure_ascii=False) + "\n" for row in broken).encode()
        durable = position.finished or time.monotonic() > self._synchronized + _SYNCHRONIZED_EVERY_SECONDS
        if lines or durable:
            _append(self.broken_rows, lines, durable=durable)
        self.position = replace(position, broken_bytes=self.position.broken_bytes + len(lines))
        content = {"belongs_to": self._belongs_to, **asdict(self.position)}
        _write(self._path, content, durable=durable)
        if durable:
            self._synchronized = time.monotonic()


def _read(path: Path, belongs_to: str) -> Position:
    try:
        content = json.loads(path.read_text())
        found = content.pop("belongs_to")
        position = Position(**content)
    except (ValueError, TypeError, KeyError) as error:
        raise InvalidInput(
            f"{path} is no ingest's checkpoint ({error}); remove it to begin anew", field="checkpoint"
        ) from error
    if found != belongs_to:
        raise Conflict(
            f"{path} belongs to another ingest ({found}, not {belongs_to}); name another directory with"
            " --checkpoint, or remove this one to begin anew",
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
