"""Parquet files of works, from img2dataset, LAION, Hugging Face or any other program."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from creditline.corpus.row_batches import Damage, one_line, open_parquet, row_batches
from creditline.corpus.sources.formats.table import Table
from creditline.corpus.sources.found import Found, found_broken, with_pictures_checked
from creditline.corpus.sources.losses import DAMAGED_FILE, NO_CAPTION
from creditline.corpus.sources.source_files import SourceFiles, size_of
from creditline.errors import InvalidInput

SUFFIX = ".parquet"
# Rows that the dimension of features is taken from, where the schema does not give it.
_MEASURED_ROWS = 256


@dataclass(frozen=True)
class ParquetSource:
    """Parquet files as a source; a part is a file."""

    name: str
    """Name of the directory or file."""
    files: SourceFiles
    """The Parquet files."""
    table: Table | None
    """Mapping of the columns of the first readable file; None if no file can be read."""
    kind: str = "parquet"
    """Name of the format."""

    @classmethod
    def open(cls, path: Path) -> ParquetSource:
        """Open a file or all Parquet files below a directory.

        Raises:
            InvalidInput: No file has a caption column, or the features of two files differ in dimension.
        """
        files = SourceFiles.find(path, SUFFIX)
        tables = list(_tables(files))
        refused = [table for _, table in tables if isinstance(table, InvalidInput)]
        if refused and len(refused) == len(tables):
            raise refused[0]
        whole = [(name, table) for name, table in tables if isinstance(table, Table)]
        _refuse_several_widths(whole)
        return cls(path.name, files, whole[0][1] if whole else None)

    @property
    def has_features(self) -> bool:
        return self.table is not None and "image_features" in self.table.features

    @property
    def fingerprint(self) -> str:
        return self.files.fingerprint

    @property
    def size(self) -> int:
        return sum(self.files.sizes)

    @property
    def mapping(self) -> Mapping[str, str]:
        return self.table.mapping if self.table else {}

    def parts(self) -> tuple[str, ...]:
        return self.files.names

    def part_fingerprint(self, part: str) -> str:
        return f"{size_of(self.files.path(part))} bytes"

    def read(self, part: str, start: int = 0) -> Iterator[Found]:
        return with_pictures_checked(self.rows(part, start))

    def rows(self, part: str, start: int = 0) -> Iterator[Found]:
        path = self.files.path(part)
        try:
            opened = open_parquet(path)
        except (OSError, pa.ArrowException) as error:
            if start == 0:
                yield found_broken(
                    part, 0, f"{path} cannot be read ({one_line(error)}); copy it again", loss=DAMAGED_FILE
                )
            return
        with opened as file:
            try:
                table = self._table_of(file, path)
            except InvalidInput as error:
                if start == 0:
                    yield found_broken(part, 0, error.message, loss=NO_CAPTION)
                return
            for rows in row_batches(file, table.columns, start=start, rows=table.rows_at_once):
                if isinstance(rows.content, Damage):
                    reason = (
                        f"rows from {rows.first} of {path} cannot be read ({rows.content.reason}); copy the"
                        " file again"
                    )
                    yield found_broken(part, rows.first, reason, loss=DAMAGED_FILE)
                else:
                    yield from table.found(rows.content, part, rows.first)

    def _table_of(self, file: pq.ParquetFile, path: Path) -> Table:
        """Mapping of a file's columns; the dimension of features is that of the first file."""
        table, widths = Table.of(file.schema_arrow, path), self.table.widths if self.table else {}
        return replace(
            table, widths={**table.widths, **{f: widths[f] for f in table.widths if widths.get(f)}}
        )


def _tables(files: SourceFiles) -> Iterator[tuple[str, Table | InvalidInput]]:
    """The table of each file that can be read, or why it has none.

    Without features the first table is enough; with features, the others may have another dimension.
    """
    for name in files.names:
        path = files.path(name)
        try:
            with open_parquet(path) as file:
                table = _measured(Table.of(file.schema_arrow, path), file)
        except (OSError, pa.ArrowException):
            continue
        except InvalidInput as error:
            yield name, error
            continue
        yield name, table
        if not table.features:
            return


def _measured(table: Table, file: pq.ParquetFile) -> Table:
    columns = list(table.features.values())
    if not columns or all(table.widths.values()):
        return table
    first = next(file.iter_batches(batch_size=_MEASURED_ROWS, columns=columns), None)
    return table if first is None else table.measured(first)


def _refuse_several_widths(tables: list[tuple[str, Table]]) -> None:
    first: dict[str, dict[int, str]] = {}
    for name, table in tables:
        for field, width in table.widths.items():
            if width:
                first.setdefault(field, {}).setdefault(width, name)
    for field, widths in first.items():
        if len(widths) > 1:
            listing = " and ".join(f"{width} ({name})" for width, name in list(widths.items())[:3])
            raise InvalidInput(
                f"{field.replace('_', ' ')} have different dimensions, {listing}; put the features of"
                " different models into different directories",
                field="source",
            )
