"""A table of captions beside pictures (`captions.csv`, `metadata.jsonl`), looked up by the pictures' names.

The table stays on disk: of each row sixteen bytes are held, a hash of its file name and where it begins.
"""

from __future__ import annotations

import csv
import json
import tempfile
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from creditline.corpus.records import text_of
from creditline.corpus.sources.found import NOT_UTF_8
from creditline.corpus.sources.layers import Layer
from creditline.corpus.sources.seen_ids import short_hash
from creditline.corpus.texts import UTF_8, decode_text
from creditline.errors import InvalidInput

TABLE_NAMES = ("captions.csv", "metadata.csv", "captions.jsonl", "metadata.jsonl")
# The column that names the picture, relative to the table; `file_name` is Hugging Face's.
FILE_COLUMNS = ("file_name", "filename", "file", "image", "image_path", "path")
_DELIMITERS = (",", ";", "\t")
_BLOCK_BYTES = 1 << 20
# A caption longer than the csv module allows by itself is still a caption.
_LONGEST_FIELD = 1 << 24


@dataclass(frozen=True, eq=False)
class CaptionTable:
    """content: the table in UTF-8. header, delimiter: of a CSV file; a JSON Lines file has none.

    hashes: (N,) of file names, sorted; offsets: (N,) where their rows begin.
    """

    path: Path
    content: IO[bytes]
    header: tuple[str, ...]
    delimiter: str
    column: str
    notes: tuple[str, ...]
    hashes: NDArray[np.uint64]
    offsets: NDArray[np.uint64]
    lock: Lock = field(default_factory=Lock)

    @classmethod
    def open(cls, path: Path) -> CaptionTable:
        """Raises InvalidInput when no column names a file, or a row cannot be read."""
        content, notes = _in_utf_8(path)
        return (
            _index_csv(path, content, notes) if path.suffix == ".csv" else _index_lines(path, content, notes)
        )

    def __len__(self) -> int:
        return len(self.hashes)

    def layer(self, name: str) -> Layer | None:
        """What it tells of a picture; None when it does not name it. name: relative to the table.

        Of several rows with one name the last counts.
        """
        wanted = np.uint64(short_hash(name))
        first, end = (int(np.searchsorted(self.hashes, wanted, side=side)) for side in ("left", "right"))
        for offset in reversed(self.offsets[first:end]):
            record = self._record(int(offset))
            if _file_name(record, self.column) == name:  # Else two names have one hash.
                return Layer(self.path.name, record, self.notes)
        return None

    def _record(self, offset: int) -> dict[str, Any]:
        with self.lock:
            self.content.seek(offset)
            if not self.header:
                return json.loads(self.content.readline())
            rows = csv.reader((line.decode() for line in self.content), delimiter=self.delimiter)
            return dict(zip(self.header, next(rows), strict=False))


def _in_utf_8(path: Path) -> tuple[IO[bytes], tuple[str, ...]]:
    """The table as it is, or a temporary copy of it in UTF-8, and whether that was needed."""
    with path.open("rb") as file:
        mark = file.read(4)
        encoding = decode_text(mark)[1] if not mark.isascii() else UTF_8
    if encoding.startswith(("utf-16", "utf-32")):
        return _copied(path, encoding), (NOT_UTF_8,)
    for encoding in (UTF_8, "cp1252", "latin-1"):
        if _is_in(path, encoding):
            return (path.open("rb"), ()) if encoding == UTF_8 else (_copied(path, encoding), (NOT_UTF_8,))
    raise AssertionError("latin-1 takes every byte")


def _is_in(path: Path, encoding: str) -> bool:
    try:
        return all(True for _ in _blocks(path, encoding))
    except UnicodeDecodeError:
        return False


def _blocks(path: Path, encoding: str) -> Iterator[str]:
    with path.open(encoding=encoding, newline="") as file:
        while block := file.read(_BLOCK_BYTES):
            yield block


def _copied(path: Path, encoding: str) -> IO[bytes]:
    copy = tempfile.TemporaryFile()  # noqa: SIM115  It lives as long as the table.
    for block in _blocks(path, encoding):
        copy.write(block.encode())
    return copy


@dataclass
class _Lines:
    """Lines as texts, counting the bytes that were given."""

    content: IO[bytes]
    given: int = 0

    def __iter__(self) -> Iterator[str]:
        self.content.seek(0)
        for line in self.content:
            self.given += len(line)
            yield line.decode().removeprefix("\ufeff") if self.given == len(line) else line.decode()


def _index_csv(path: Path, content: IO[bytes], notes: tuple[str, ...]) -> CaptionTable:
    content.seek(0)
    delimiter = max(_DELIMITERS, key=content.readline().decode().count)
    rows = _csv_rows(path, _Lines(content), delimiter)
    header = tuple(name.strip() for name in next(rows, (0, []))[1])
    column = _file_column(path, header)
    names, offsets = array("Q"), array("Q")
    for offset, row in rows:
        names.append(short_hash(_file_name(dict(zip(header, row, strict=False)), column)))
        offsets.append(offset)
    return CaptionTable(path, content, header, delimiter, column, notes, *_sorted(names, offsets))


def _csv_rows(path: Path, lines: _Lines, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Rows, of one line or of several, and where each begins."""
    csv.field_size_limit(_LONGEST_FIELD)
    rows = csv.reader(iter(lines), delimiter=delimiter)
    while True:
        offset = lines.given
        try:
            row = next(rows, None)
        except csv.Error as error:
            reason = f"{path} cannot be read at line {rows.line_num} ({error}); write it again"
            raise InvalidInput(reason, field="source") from error
        if row is None:
            return
        if row:
            yield offset, row


def _index_lines(path: Path, content: IO[bytes], notes: tuple[str, ...]) -> CaptionTable:
    names, offsets, column = array("Q"), array("Q"), ""
    lines = _Lines(content)
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        record = _json_record(path, number, line)
        column = column or _file_column(path, tuple(record))
        names.append(short_hash(_file_name(record, column)))
        offsets.append(lines.given - len(line.encode()))
    return CaptionTable(path, content, (), "", column, notes, *_sorted(names, offsets))


def _json_record(path: Path, number: int, line: str) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except ValueError as error:
        reason = f"{path} cannot be read at line {number} ({error}); write it again"
        raise InvalidInput(reason, field="source") from error
    if not isinstance(record, dict):
        raise InvalidInput(f"line {number} of {path} is no JSON object; write it again", field="source")
    return record


def _file_column(path: Path, columns: Sequence[str]) -> str:
    lower = {name.lower(): name for name in reversed(columns)}
    column = next((lower[name] for name in FILE_COLUMNS if name in lower), None)
    if column is None:
        raise InvalidInput(
            f"{path} has none of the columns {', '.join(FILE_COLUMNS)}, only"
            f" {', '.join(columns) or 'none at all'}; one must name the pictures",
            field="source",
        )
    return column


def _file_name(record: dict[str, Any], column: str) -> str:
    return text_of(record.get(column)).replace("\\", "/").removeprefix("./")


def _sorted(names: array[int], offsets: array[int]) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """In the order of hashes, and of offsets where those are the same."""
    hashes, begins = (np.array(numbers, dtype=np.uint64) for numbers in (names, offsets))
    order = np.argsort(hashes, kind="stable")
    return hashes[order], begins[order]
