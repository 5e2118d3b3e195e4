"""A table of captions beside pictures (`captions.csv`, `metadata.jsonl`), indexed by picture file names.

The table stays on disk; memory holds sixteen bytes per row, the hash of its file name and its offset.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from creditline.corpus.records import text_of
from creditline.corpus.sources.formats.text_tables import TableRow, TextTable
from creditline.corpus.sources.layers import Layer
from creditline.corpus.sources.seen_ids import short_hash
from creditline.errors import InvalidInput

TABLE_NAMES = (
    *("captions.csv", "metadata.csv", "captions.tsv", "metadata.tsv"),
    *("captions.jsonl", "metadata.jsonl"),
)
# Columns that may hold the picture's path relative to the table; `file_name` is Hugging Face's name for it.
FILE_COLUMNS = ("file_name", "filename", "file", "image", "image_path", "path", "image_name")
NAMED_TWICE = "picture named twice in a table, the last row is used"


class BrokenTableRow(Exception):
    """The row that names a picture cannot be trusted; the message is a sentence with the reason."""


@dataclass(frozen=True, eq=False)
class CaptionTable:
    """A table of captions on disk with an index in memory; safe to use from several threads."""

    table: TextTable
    """The table."""
    hashes: NDArray[np.uint64]
    """Hashes of the pictures' paths, sorted: (N,)."""
    offsets: NDArray[np.uint64]
    """Offsets in bytes at which the rows begin, in the order of `hashes`: (N,)."""
    lines: Mapping[int, int]
    """Line numbers of the rows with faults, by their offsets."""

    @classmethod
    def open(cls, path: Path) -> CaptionTable:
        """Open and index a table.

        Raises:
            InvalidInput: No column holds file names, or the header cannot be read.
        """
        table = TextTable.open(path)
        names, offsets, lines = array("Q"), array("Q"), {}
        columns = table.header
        for row in table.rows():
            if row.fault:
                lines[row.offset] = row.line
            elif not has_file_column(columns):
                columns = tuple(row.record)
            name = file_name(row.record, path)
            if name:
                names.append(short_hash(name))
                offsets.append(row.offset)
        if columns and not has_file_column(columns):
            raise InvalidInput(
                f"{path} has none of the columns {', '.join(FILE_COLUMNS)}, only {', '.join(columns)}; one"
                " column must hold the pictures' file names",
                field="source",
            )
        return cls(table, *_sorted(names, offsets), lines)

    def __len__(self) -> int:
        return len(self.hashes)

    @property
    def path(self) -> Path:
        """The table's own file."""
        return self.table.path

    def rows(self) -> Iterator[TableRow]:
        """All rows, in the order of the file."""
        return self.table.rows()

    def layer(self, name: str) -> Layer | None:
        """The metadata of a picture.

        Args:
            name: Path of the picture relative to the table.

        Returns:
            The last row that names the picture; None if no row does.

        Raises:
            BrokenTableRow: That row cannot be trusted.
        """
        named = [row for row in self._candidates(name) if file_name(row.record, self.path) == name]
        if not named:
            return None
        if named[-1].fault:
            raise BrokenTableRow(fault_sentence(self.path, self.lines[named[-1].offset], named[-1].fault))
        notes = (*self.table.notes, *((NAMED_TWICE,) if len(named) > 1 else ()))
        return Layer(self.path.name, named[-1].record, notes)

    def _candidates(self, name: str) -> list[TableRow]:
        """Rows whose file name has the hash of a name; two names may have the same hash."""
        wanted = np.uint64(short_hash(name))
        first, end = (int(np.searchsorted(self.hashes, wanted, side=side)) for side in ("left", "right"))
        return [self.table.row(int(offset)) for offset in self.offsets[first:end]]


def fault_sentence(path: Path, line: int, fault: str) -> str:
    """The sentence about a row that cannot be trusted."""
    return f"line {line} of {path} {fault}"


def file_name(record: Mapping[str, Any], table: Path) -> str:
    """Path of a row's picture relative to the table, from the first file column that has one; else empty."""
    lower: dict[str, str] = {}
    for column in record:
        lower.setdefault(column.lower(), column)
    given = (text_of(record[lower[name]]) for name in FILE_COLUMNS if name in lower)
    name = next((one for one in given if one and "://" not in one), "").replace("\\", "/")
    return name.removeprefix(f"{table.parent.as_posix()}/").removeprefix("./")


def has_file_column(columns: tuple[str, ...]) -> bool:
    """Whether a table with these columns may name files."""
    return not {name.lower() for name in columns}.isdisjoint(FILE_COLUMNS)


def _sorted(names: array[int], offsets: array[int]) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """Hashes and offsets, sorted by hash; equal hashes keep the order of their offsets."""
    hashes, begins = (np.array(numbers, dtype=np.uint64) for numbers in (names, offsets))
    order = np.argsort(hashes, kind="stable")
    return hashes[order], begins[order]
