"""A table of captions beside pictures (`captions.csv`, `metadata.jsonl`), indexed by picture file names.

The table stays on disk; memory holds sixteen bytes per row, the hash of its file name and its offset.
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
# Columns that may hold the picture's path relative to the table; `file_name` is Hugging Face's name for it.
FILE_COLUMNS = ("file_name", "filename", "file", "image", "image_path", "path")
_DELIMITERS = (",", ";", "\t")
_BLOCK_BYTES = 1 << 20
# Characters of the longest caption; the csv module's default limit is too low.
_LONGEST_FIELD = 1 << 24


@dataclass(frozen=True, eq=False)
class CaptionTable:
    """A table of captions on disk with an index in memory; safe to use from several threads."""

    path: Path
    """The table's own file."""
    content: IO[bytes]
    """The table in UTF-8: the file itself, or a temporary copy."""
    header: tuple[str, ...]
    """Column names of a CSV file; empty for JSON Lines."""
    delimiter: str
    """Delimiter of a CSV file; empty for JSON Lines."""
    column: str
    """Column that holds the pictures' paths relative to the table."""
    notes: tuple[str, ...]
    """Notes about how the table was read."""
    hashes: NDArray[np.uint64]
    """Hashes of the pictures' paths, sorted: (N,)."""
    offsets: NDArray[np.uint64]
    """Offsets in bytes at which the rows begin, in the order of `hashes`: (N,)."""
    lock: Lock = field(default_factory=Lock)
    """Guards the file position of `content`."""

    @classmethod
    def open(cls, path: Path) -> CaptionTable:
        """Open and index a table.

        Raises:
            InvalidInput: No column holds file names, or a row cannot be read.
        """
        content, notes = _in_utf_8(path)
        return (
            _index_csv(path, content, notes) if path.suffix == ".csv" else _index_lines(path, content, notes)
        )

    def __len__(self) -> int:
        return len(self.hashes)

    def layer(self, name: str) -> Layer | None:
        """The metadata of a picture.

        Args:
            name: Path of the picture relative to the table.

        Returns:
            The last row that names the picture; None if no row does.
        """
        wanted = np.uint64(short_hash(name))
        first, end = (int(np.searchsorted(self.hashes, wanted, side=side)) for side in ("left", "right"))
        for offset in reversed(self.offsets[first:end]):
            record = self._record(int(offset))
            if _file_name(record, self.column) == name:  # Otherwise two names have the same hash.
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
    """The table's file, or a temporary copy in UTF-8 with a note about its encoding."""
    with path.open("rb") as file:
        mark = file.read(4)
        encoding = decode_text(mark)[1] if not mark.isascii() else UTF_8
    if encoding.startswith(("utf-16", "utf-32")):
        return _copied(path, encoding), (NOT_UTF_8,)
    for encoding in (UTF_8, "cp1252", "latin-1"):
        if _is_in(path, encoding):
            return (path.open("rb"), ()) if encoding == UTF_8 else (_copied(path, encoding), (NOT_UTF_8,))
    raise AssertionError("every file can be decoded as Latin-1")


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
    copy = tempfile.TemporaryFile()  # noqa: SIM115  It must stay open as long as the table.
    for block in _blocks(path, encoding):
        copy.write(block.encode())
    return copy


@dataclass
class _Lines:
    """Decoded lines of a file, with a count of the bytes read so far."""

    content: IO[bytes]
    bytes_read: int = 0

    def __iter__(self) -> Iterator[str]:
        self.content.seek(0)
        for line in self.content:
            self.bytes_read += len(line)
            yield line.decode().removeprefix("\ufeff") if self.bytes_read == len(line) else line.decode()


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
    """Rows, which may span several lines, and the offset of each."""
    csv.field_size_limit(_LONGEST_FIELD)
    rows = csv.reader(iter(lines), delimiter=delimiter)
    while True:
        offset = lines.bytes_read
        try:
            row = next(rows, None)
        except csv.Error as error:
            reason = f"{path} cannot be read at line {rows.line_num} ({error}); correct this line"
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
        offsets.append(lines.bytes_read - len(line.encode()))
    return CaptionTable(path, content, (), "", column, notes, *_sorted(names, offsets))


def _json_record(path: Path, number: int, line: str) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except ValueError as error:
        reason = f"{path} cannot be read at line {number} ({error}); correct this line"
        raise InvalidInput(reason, field="source") from error
    if not isinstance(record, dict):
        raise InvalidInput(f"line {number} of {path} is not a JSON object; correct it", field="source")
    return record


def _file_column(path: Path, columns: Sequence[str]) -> str:
    lower = {name.lower(): name for name in reversed(columns)}
    column = next((lower[name] for name in FILE_COLUMNS if name in lower), None)
    if column is None:
        raise InvalidInput(
            f"{path} has none of the columns {', '.join(FILE_COLUMNS)}, only"
            f" {', '.join(columns) or 'no columns at all'}; one column must hold the pictures' file names",
            field="source",
        )
    return column


def _file_name(record: dict[str, Any], column: str) -> str:
    return text_of(record.get(column)).replace("\\", "/").removeprefix("./")


def _sorted(names: array[int], offsets: array[int]) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """Hashes and offsets, sorted by hash; equal hashes keep the order of their offsets."""
    hashes, begins = (np.array(numbers, dtype=np.uint64) for numbers in (names, offsets))
    order = np.argsort(hashes, kind="stable")
    return hashes[order], begins[order]
