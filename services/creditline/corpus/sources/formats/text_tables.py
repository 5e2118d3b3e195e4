"""CSV and JSON Lines files, read row by row; a row that cannot be trusted is a fault, and reading goes on.

The table stays on disk. A quote that is never closed costs the line that opens it, not the rows below it.
"""

from __future__ import annotations

import codecs
import csv
import json
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import IO, Any

from creditline.corpus.row_batches import one_line
from creditline.corpus.sources.found import NOT_UTF_8
from creditline.corpus.sources.picture_check import SUFFIXES
from creditline.corpus.texts import UTF_8, decode_text
from creditline.errors import InvalidInput

LINES_SUFFIXES = (".jsonl", ".ndjson")
CSV_SUFFIXES = (".csv", ".tsv")
REPEATED_COLUMN = "a column name occurs twice in a table"
_DELIMITERS = (",", ";", "\t")
_BLOCK_BYTES = 1 << 20
# Bytes that show a byte order mark, or UTF-16 without one.
_MARK_BYTES = 16
# Characters of the longest field; the csv module's default limit is too low. A quote that is never closed
# swallows no more than this.
_LONGEST_FIELD = 1 << 20


@dataclass(frozen=True)
class TableRow:
    """One row of a table."""

    line: int
    """Number of the row's first line, from 1; 0 where it is not known."""
    offset: int
    """Offset in bytes at which the row begins."""
    end: int
    """Offset in bytes at which the next row begins."""
    record: dict[str, Any]
    """Values by column; as far as they can be guessed, if the row has a fault."""
    fault: str
    """The reason why the values cannot be trusted, as the end of a sentence about the line; else empty."""


@dataclass(frozen=True, eq=False)
class TextTable:
    """A table on disk; safe to use from several threads."""

    path: Path
    """The table's own file."""
    content: IO[bytes]
    """The table in UTF-8: the file itself, or a temporary copy."""
    notes: tuple[str, ...]
    """Notes about how the table was read."""
    header: tuple[str, ...] = ()
    """Column names of a CSV file; empty for JSON Lines."""
    delimiter: str = ""
    """Delimiter of a CSV file; empty for JSON Lines."""
    first: int = 0
    """Offset in bytes of the first row."""
    lock: Lock = field(default_factory=Lock)
    """Guards the file position of `content`."""

    @classmethod
    def open(cls, path: Path) -> TextTable:
        """Open a table.

        Raises:
            InvalidInput: The header of a CSV file cannot be read.
        """
        csv.field_size_limit(_LONGEST_FIELD)
        content, notes = _in_utf_8(path)
        table = cls(path, content, notes)
        return table if path.suffix.lower() in LINES_SUFFIXES else table._with_header()

    def _with_header(self) -> TextTable:
        delimiter = max(_DELIMITERS, key=self._line(0).decode().count)
        reader = TextTable(self.path, self.content, self.notes, (), delimiter)
        offset, names = 0, list[str]()
        while not names and self._line(offset):
            names, fault, offset = reader._fields(offset)
            if fault:
                raise InvalidInput(f"the header of {self.path} {fault}; correct it", field="source")
        header = tuple(_trimmed([name.strip() for name in names], 0))
        repeated = (REPEATED_COLUMN,) if len(set(header)) < len(header) else ()
        return TextTable(self.path, self.content, (*self.notes, *repeated), header, delimiter, offset)

    @property
    def columns(self) -> tuple[str, ...]:
        """Column names: of a CSV file's header, or of the first whole row of JSON Lines."""
        return self.header or next((tuple(row.record) for row in self.rows() if not row.fault), ())

    def rows(self) -> Iterator[TableRow]:
        """All rows but empty ones, in order."""
        offset, line = self.first, 1 + self._lines_until(self.first)
        while raw := self._line(offset):
            end = offset + len(raw)
            if raw.removeprefix(codecs.BOM_UTF8).strip():
                row = self.row(offset, line=line)
                if row.fault or not self.delimiter or any(row.record.values()):
                    yield row
                line += self._lines_until(row.end, end) + 1
                offset = row.end
            else:
                line, offset = line + 1, end

    def row(self, offset: int, *, line: int = 0) -> TableRow:
        """The row that begins at an offset."""
        if not self.delimiter:
            return self._lines_row(offset, line)
        fields, fault, end = self._fields(offset)
        fields = _trimmed(fields, len(self.header))
        if not fault and len(fields) != len(self.header):
            count = "1 field" if len(fields) == 1 else f"{len(fields)} fields"
            fault = f"has {count} and the header {len(self.header)}; put texts with a delimiter into quotes"
        return TableRow(line, offset, end, self._record(fields), fault)

    def _record(self, fields: list[str]) -> dict[str, Any]:
        """Values by column; of columns with the same name, a list of those that are not empty."""
        if REPEATED_COLUMN not in self.notes:
            return dict(zip(self.header, fields, strict=False))
        counts, record = Counter(self.header), dict[str, Any]()
        for name, value in zip(self.header, fields, strict=False):
            if counts[name] == 1:
                record[name] = value
            else:
                record.setdefault(name, []).extend([value] if value.strip() else [])
        return record

    def _lines_row(self, offset: int, line: int) -> TableRow:
        raw = self._line(offset)
        end, record, fault = offset + len(raw), {}, ""
        try:
            record = json.loads(raw.decode().removeprefix("\ufeff"), strict=False)
        except (ValueError, RecursionError) as error:
            fault = f"cannot be read ({one_line(error)}); correct this line"
        if not isinstance(record, dict):
            record, fault = {}, "is not a JSON object; correct it"
        return TableRow(line, offset, end, record, fault)

    def _fields(self, offset: int) -> tuple[list[str], str, int]:
        """Fields of the CSV row at an offset, its fault, and the offset of the next row."""
        lines: list[str] = []
        end = offset

        def taken() -> Iterator[str]:
            nonlocal end
            while raw := self._line(end):
                lines.append(raw.decode() if end else raw.decode().removeprefix("\ufeff"))
                end += len(raw)
                yield lines[-1]

        try:
            fields = next(csv.reader(taken(), delimiter=self.delimiter, strict=True), [])
        except csv.Error as error:
            return self._recovered(offset, lines, one_line(error))
        if len(lines) > 1 and self._is_swallowed(fields, lines):
            return self._recovered(offset, lines, "unexpected end of data")
        return fields, "", end

    def _recovered(self, offset: int, lines: list[str], error: str) -> tuple[list[str], str, int]:
        """The first line of a row whose quotes do not fit; the next line begins another row."""
        fields = next(csv.reader([lines[0].replace('"', "")], delimiter=self.delimiter), [])
        is_open = len(lines) > 1 or "end of data" in error
        fault = "opens a quote that is not closed" if is_open else f"has quotes that do not fit ({error})"
        end = offset + len(self._line(offset))
        return fields, f"{fault}; close it, or double a quote inside a text" if is_open else fault, end

    def _is_swallowed(self, fields: list[str], lines: list[str]) -> bool:
        """Whether a row of several lines holds other rows, because a quote in another row closed it."""
        if not self.header:
            return False
        if len(_trimmed(fields, len(self.header))) != len(self.header):
            return True
        return any(map(self._looks_like_row, lines[1:]))

    def _looks_like_row(self, line: str) -> bool:
        """Whether a line has as many fields as the header, one of them the name of a picture file."""
        fields = line.replace('"', "").rstrip("\r\n").split(self.delimiter)
        return len(fields) >= len(self.header) and any(
            one.strip().lower().endswith(SUFFIXES) for one in fields
        )

    def _line(self, offset: int) -> bytes:
        with self.lock:
            if self.content.tell() != offset:
                self.content.seek(offset)
            return self.content.readline()

    def _lines_until(self, end: int, start: int = 0) -> int:
        """Number of lines between two offsets."""
        count = 0
        while start < end:
            start, count = start + len(self._line(start)), count + 1
        return count


def _trimmed(fields: list[str], count: int) -> list[str]:
    """Fields without empty ones at the end that are more than `count`."""
    end = len(fields)
    while end > count and not fields[end - 1].strip():
        end -= 1
    return fields[:end]


def _in_utf_8(path: Path) -> tuple[IO[bytes], tuple[str, ...]]:
    """The table's file, or a temporary copy in UTF-8 with a note about its encoding."""
    with path.open("rb") as file:
        start = file.read(_BLOCK_BYTES)
    encoding = decode_text(start[:_MARK_BYTES])[1]
    if encoding.startswith(("utf-16", "utf-32")):
        return _copied(path, encoding), (NOT_UTF_8,)
    is_old = b"\r" in start and b"\n" not in start
    for encoding in (UTF_8, "cp1252", "latin-1"):
        if _is_in(path, encoding):
            content = _copied(path, encoding) if is_old or encoding != UTF_8 else path.open("rb")
            return content, () if encoding == UTF_8 else (NOT_UTF_8,)
    raise AssertionError("every file can be decoded as Latin-1")


def _is_in(path: Path, encoding: str) -> bool:
    try:
        return all(True for _ in _blocks(path, encoding, newline=""))
    except UnicodeDecodeError:
        return False


def _blocks(path: Path, encoding: str, newline: str | None) -> Iterator[str]:
    with path.open(
        encoding=encoding, newline=newline, errors="strict" if newline == "" else "replace"
    ) as file:
        while block := file.read(_BLOCK_BYTES):
            yield block


def _copied(path: Path, encoding: str) -> IO[bytes]:
    """A copy in UTF-8 with line feeds as line ends, also for line ends of old systems."""
    copy = tempfile.TemporaryFile()  # noqa: SIM115  It must stay open as long as the table.
    for block in _blocks(path, encoding, newline=None):
        copy.write(block.encode("utf-8", "replace"))
    copy.seek(0)
    return copy
