"""A CSV or JSON Lines file whose rows are the works: each names its picture's file, or has no picture."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path

from creditline.corpus.columns import PLAIN_FIELDS, columns_of, require_caption
from creditline.corpus.numbered_ids import with_place
from creditline.corpus.records import fields_of
from creditline.corpus.row_batches import one_line
from creditline.corpus.sources.formats.caption_table import fault_sentence, file_name, has_file_column
from creditline.corpus.sources.formats.text_tables import CSV_SUFFIXES, LINES_SUFFIXES, TableRow, TextTable
from creditline.corpus.sources.found import Found, found_broken, found_work, with_pictures_checked
from creditline.corpus.sources.losses import BROKEN_ROW, EMPTY_PICTURE, MISSING_FILE
from creditline.corpus.sources.source_files import SourceFiles, size_of

SUFFIXES = (*CSV_SUFFIXES, *LINES_SUFFIXES)


@dataclass(frozen=True)
class ListingSource:
    """Tables of works as a source; a part is a table.

    A row's picture is read from a path relative to its table, and never from outside the table's directory.
    The id of a work without one is the path of its picture, else the table's name with the row's number.
    """

    name: str
    """Name of the directory or file."""
    files: SourceFiles
    """The tables."""
    kind: str = "table"
    """Name of the format."""
    has_features: bool = False
    """Rows never have features."""

    @classmethod
    def open(cls, path: Path) -> ListingSource:
        """Open a table or all tables below a directory.

        Raises:
            InvalidInput: No table has a caption column, or the header of the first one cannot be read.
        """
        files = SourceFiles.find(path, *SUFFIXES)
        source = cls(path.name, files)
        columns = [table.columns for table in source._tables.values() if table.columns]
        if columns and not any("caption" in columns_of(names) for names in columns):
            require_caption(path, columns[0])
        return source

    @cached_property
    def _tables(self) -> dict[str, TextTable]:
        return {name: TextTable.open(self.files.path(name)) for name in self.files.names}

    @property
    def fingerprint(self) -> str:
        return self.files.fingerprint

    @property
    def size(self) -> int:
        return sum(self.files.sizes)

    @property
    def mapping(self) -> Mapping[str, str]:
        columns = next((table.columns for table in self._tables.values()), ())
        fields = {
            field: " or ".join(names) for field, names in columns_of(columns).items() if field in PLAIN_FIELDS
        }
        return {**fields, "picture": "the file that a row names"} if has_file_column(columns) else fields

    def parts(self) -> tuple[str, ...]:
        return self.files.names

    def part_fingerprint(self, part: str) -> str:
        return f"{size_of(self.files.path(part))} bytes"

    def read(self, part: str, start: int = 0) -> Iterator[Found]:
        return with_pictures_checked(self.rows(part, start))

    def rows(self, part: str, start: int = 0) -> Iterator[Found]:
        path = self.files.path(part)
        table = self._tables[part]
        for number, row in enumerate(islice(table.rows(), start, None), start):
            yield _found(path, part, number, row, table.notes)


def _found(path: Path, part: str, number: int, row: TableRow, notes: tuple[str, ...]) -> Found:
    if row.fault:
        return found_broken(part, number, fault_sentence(path, row.line, row.fault), loss=BROKEN_ROW)
    name, picture = file_name(row.record, path), b""
    if name:
        try:
            picture = _inside(path.parent, name).read_bytes()
        except (OSError, ValueError) as error:
            what = f"names the picture {name!r}, which cannot be read ({one_line(error)})"
            reason = f"{fault_sentence(path, row.line, what)}; add it, or remove the line"
            return found_broken(part, number, reason, loss=MISSING_FILE)
        if not picture:
            what = f"names the picture {name!r}, which is empty (0 bytes); store it again"
            return found_broken(part, number, fault_sentence(path, row.line, what), loss=EMPTY_PICTURE)
    elif has_file_column(tuple(row.record)):
        what = "names no picture; add its name, or remove the line"
        return found_broken(part, number, fault_sentence(path, row.line, what), loss=MISSING_FILE)
    return found_work(
        part,
        number,
        with_place(fields_of(row.record), row.record, part.rpartition(".")[0]),
        own_id=name or f"{part.rpartition('.')[0]}-{number}",
        picture=picture,
        source=name,
        notes=notes,
        record=row.record,
    )


def _inside(directory: Path, name: str) -> Path:
    """The path of a picture below a directory.

    Raises:
        ValueError: The name leads out of the directory.
    """
    path = (directory / name).resolve()
    if not path.is_relative_to(directory.resolve()):
        raise ValueError(f"it lies outside {directory}")
    return path
