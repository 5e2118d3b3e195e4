"""Progress of an ingest on disk, from which a stopped or killed ingest resumes after the last batch.

Progress is kept for each part of the source, together with the part's fingerprint: a source that has grown is
continued with its new parts, and a part that has changed is read again.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Self

from creditline.errors import Conflict, InvalidInput
from creditline.files import replace_file

_SYNC_INTERVAL_SECONDS = 5.0
_PARTS_SUFFIX = ".parts.jsonl"


@dataclass(frozen=True)
class Counts:
    """Numbers of rows of a source by their outcome."""

    written: int = 0
    """Works written whose ids the collection did not hold."""
    replaced: int = 0
    """Works written over ones of the same id: newer metadata, or another work with `replace`."""
    kept: int = 0
    """Works left as they are, because the collection holds them already."""
    refused: int = 0
    """Works left out, because the collection holds another work under their id."""
    broken: int = 0
    """Rows that hold no usable work."""
    withdrawn: int = 0
    """Of the works written, replaced and kept, those that are withdrawn and never listed."""

    def __add__(self, other: Counts) -> Counts:
        return Counts(*(getattr(self, each.name) + getattr(other, each.name) for each in fields(self)))

    def __sub__(self, other: Counts) -> Counts:
        return Counts(*(getattr(self, each.name) - getattr(other, each.name) for each in fields(self)))

    @property
    def works(self) -> int:
        """Works of the source that the collection holds."""
        return self.written + self.replaced + self.kept

    @property
    def sent(self) -> int:
        """Works that were sent to the collection."""
        return self.written + self.replaced


@dataclass(frozen=True)
class Position:
    """Position in a source: all rows before it have been ingested or listed as broken."""

    part: str = ""
    """Name of the part that is being read; empty before the first."""
    row: int = 0
    """Number of the row that comes next in that part."""
    counts: Counts = field(default_factory=Counts)
    """Outcomes of all rows so far."""
    broken_bytes: int = 0
    """Size of the list of broken rows at this position, in bytes."""
    finished: bool = False
    """Whether the ingest has reached the end of the source."""

    @property
    def works(self) -> int:
        """Works of the source that the collection holds so far."""
        return self.counts.works

    @property
    def broken(self) -> int:
        """Broken rows so far."""
        return self.counts.broken


@dataclass(frozen=True)
class Broken:
    """A row of a source that was not written, with the reason."""

    part: str
    """Name of the part."""
    row: int
    """Number of the row in the part."""
    reason: str
    """Why the row was not written."""


@dataclass(frozen=True)
class FormerIngest:
    """What a checkpoint of version 0.1 stands for, which numbers the parts instead of naming them."""

    belongs_to: str
    """Identity that it must have."""
    parts: Callable[[], Mapping[str, str]]
    """Fingerprints of the loader's parts by name, in order."""


class Checkpoint:
    """One loader's progress: `NAME.json`, `NAME.parts.jsonl` and `NAME.broken.jsonl` in a directory.

    Args:
        directory: Directory of the files.
        name: Name of the loader.
        belongs_to: Identity of the ingest; a checkpoint of another ingest is never resumed.
        position: Position from which the ingest resumes.
        done: Fingerprints of the finished parts by name, those of other loaders of the directory included.
    """

    def __init__(
        self,
        directory: Path,
        name: str,
        belongs_to: str,
        position: Position,
        done: Mapping[str, str] | None = None,
    ) -> None:
        self._path = directory / f"{name}.json"
        self._parts_file = directory / f"{name}{_PARTS_SUFFIX}"
        self._belongs_to = belongs_to
        self.broken_rows = directory / f"{name}.broken.jsonl"
        """File that lists the broken rows, one JSON object per line."""
        self.position = position
        """Position that was last noted."""
        self.part_fingerprint = ""
        """Fingerprint of the part of `position` when it was begun."""
        self.done = dict(done or {})
        """Fingerprints of the finished parts, by name."""
        self._synchronized_at = time.monotonic()

    @classmethod
    def open(cls, directory: Path, name: str, *, belongs_to: str, former: FormerIngest | None = None) -> Self:
        """Open the checkpoint in a directory, or create one at the beginning of the source.

        Args:
            directory: Directory of the checkpoint.
            name: Name of the loader.
            belongs_to: Identity of the ingest.
            former: How a checkpoint of version 0.1 is read; None: it is refused.

        Raises:
            Conflict: The checkpoint belongs to another ingest.
            InvalidInput: The file is not a checkpoint.
        """
        directory.mkdir(parents=True, exist_ok=True)
        path = directory / f"{name}.json"
        opened = cls(directory, name, belongs_to, Position(), _finished_parts(directory))
        if path.is_file():
            opened._resume(_read(path), former)
        opened.broken_rows.touch()
        # Rows listed after the last acknowledged batch are listed again; a power loss may have cut the list.
        kept = min(opened.position.broken_bytes, opened.broken_rows.stat().st_size)
        os.truncate(opened.broken_rows, kept)
        opened.position = replace(opened.position, broken_bytes=kept)
        return opened

    def _resume(self, content: dict[str, Any], former: FormerIngest | None) -> None:
        found = content.pop("belongs_to")
        is_former = "part_fingerprint" not in content
        expected = former.belongs_to if is_former and former else self._belongs_to
        if found != expected:
            raise Conflict(
                f"{self._path} belongs to another ingest ({found}, not {expected}); give another directory"
                " with --checkpoint, or remove this one to start from the beginning",
                field="checkpoint",
            )
        try:
            if is_former:
                self._resume_former(content, former.parts() if former else {})
            else:
                self.part_fingerprint = str(content.pop("part_fingerprint"))
                self.position = Position(counts=Counts(**content.pop("counts")), **content)
        except (ValueError, TypeError, KeyError, IndexError) as error:
            raise _not_a_checkpoint(self._path, error) from error

    def _resume_former(self, content: dict[str, Any], parts: Mapping[str, str]) -> None:
        """Take over a position of version 0.1, whose source has not changed since."""
        names, counts = list(parts), Counts(written=content["works"], broken=content["broken"])
        finished = bool(content["finished"])
        ended = names if finished else names[: content["part"]]
        part = "" if finished else names[content["part"]]
        self.part_fingerprint = parts.get(part, "")
        self.position = Position(part, content["row"], counts, content["broken_bytes"], finished)
        self.done |= {name: parts[name] for name in ended}
        _append(self._parts_file, _part_lines({name: parts[name] for name in ended}), durable=True)

    def start_of(self, part: str, fingerprint: str) -> int | None:
        """Number of the row from which a part is to be read; None: it is finished and unchanged."""
        if self.done.get(part) == fingerprint:
            return None
        if part == self.position.part and self.part_fingerprint == fingerprint:
            return self.position.row
        return 0

    def has_read(self, part: str) -> bool:
        """Whether any row of the part has been read before."""
        return part in self.done or (part == self.position.part and self.position.row > 0)

    def advance(
        self,
        position: Position,
        broken: Sequence[Broken],
        *,
        part_fingerprint: str = "",
        finished_parts: Mapping[str, str] | None = None,
    ) -> None:
        """Record that all rows before `position` are in the index or in the list of broken rows.

        A killed process loses none of it. For the case of a power loss, the files are synchronized to disk
        every few seconds and at the end; resuming from an older checkpoint only overwrites works with
        themselves.

        Args:
            position: The new position; its `broken_bytes` is ignored.
            broken: Broken rows since the last position.
            part_fingerprint: Fingerprint of the part of the position.
            finished_parts: Fingerprints of the parts that ended since the last position.
        """
        lines = _lines([asdict(row) for row in broken])
        ended = _part_lines(finished_parts or {})
        durable = position.finished or time.monotonic() > self._synchronized_at + _SYNC_INTERVAL_SECONDS
        for path, added in ((self.broken_rows, lines), (self._parts_file, ended)):
            if added or (durable and path.exists()):
                _append(path, added, durable=durable)
        self.done |= finished_parts or {}
        self.part_fingerprint = part_fingerprint
        self.position = replace(position, broken_bytes=self.position.broken_bytes + len(lines))
        content = {
            "belongs_to": self._belongs_to,
            "part_fingerprint": part_fingerprint,
            **asdict(self.position),
        }
        _write(self._path, content, durable=durable)
        if durable:
            self._synchronized_at = time.monotonic()


def _finished_parts(directory: Path) -> dict[str, str]:
    """Fingerprints of the parts that any loader has finished, without lines that a power loss has cut."""
    return {
        entry["part"]: entry["fingerprint"]
        for path in sorted(directory.glob(f"*{_PARTS_SUFFIX}"))
        for entry in _entries(path.read_text(errors="surrogateescape"))
    }


def _entries(text: str) -> Iterator[dict[str, str]]:
    for line in text.splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict) and {"part", "fingerprint"} <= set(entry):
            yield entry


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text())
        if not isinstance(content, dict) or "belongs_to" not in content:
            raise ValueError("it names no ingest")
        return content
    except ValueError as error:
        raise _not_a_checkpoint(path, error) from error


def _not_a_checkpoint(path: Path, error: Exception) -> InvalidInput:
    return InvalidInput(
        f"{path} is not the checkpoint of an ingest ({error}); remove it to start from the beginning",
        field="checkpoint",
    )


def _lines(entries: Sequence[Mapping[str, Any]]) -> bytes:
    return "".join(json.dumps(entry, ensure_ascii=False) + "\n" for entry in entries).encode(
        "utf-8", "surrogateescape"
    )


def _part_lines(parts: Mapping[str, str]) -> bytes:
    return _lines([{"part": part, "fingerprint": fingerprint} for part, fingerprint in parts.items()])


def _append(path: Path, lines: bytes, *, durable: bool) -> None:
    with path.open("ab") as file:
        file.write(lines)
        file.flush()
        if durable:
            os.fsync(file.fileno())


def _write(path: Path, content: object, *, durable: bool) -> None:
    with replace_file(path, durable=durable) as draft:
        draft.write_text(json.dumps(content))
