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
from creditline.corpus.sources.losses import DAMAGED_FILE
from creditline.corpus.sources.source_files import SourceFiles

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
            InvalidInput: The first readable file has no caption column.
        """
        files = SourceFiles.find(path, SUFFIX)
        return cls(path.name, files, _first_table(files))

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
            table = self._table_of(file, path)
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


def _first_table(files: SourceFiles) -> Table | None:
    for name in files.names:
        path = files.path(name)
        try:
            with open_parquet(path) as file:
                table = Table.of(file.schema_arrow, path)
                columns = list(table.features.values())
                first = (
                    next(file.iter_batches(batch_size=_MEASURED_ROWS, columns=columns), None)
                    if columns
                    else None
                )
                return table if first is None else table.measured(first)
        except (OSError, pa.ArrowException):
            continue
    return None
