"""Reading of a Parquet file from any row onwards in bounded memory; earlier row groups are not read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

# Bytes of the read buffer; without one, a whole column of a row group is read at once.
_READ_BYTES = 1 << 20


@dataclass(frozen=True)
class Damage:
    """A row group that cannot be read."""

    reason: str
    """Message of the reader's error, on one line."""


@dataclass(frozen=True, eq=False)
class Rows:
    """Consecutive rows of a file, or the reason why they cannot be read."""

    first: int
    """Number of the first row."""
    content: pa.RecordBatch | Damage
    """The rows, or the damage that begins at row `first`."""


def open_parquet(path: Path) -> pq.ParquetFile:
    """Open a Parquet file for buffered reading; the caller closes it.

    Raises:
        OSError: The file cannot be opened.
        pyarrow.ArrowException: The file is not a valid Parquet file.
    """
    return pq.ParquetFile(path, buffer_size=_READ_BYTES)


def row_batches(file: pq.ParquetFile, columns: Sequence[str], *, start: int = 0, rows: int) -> Iterator[Rows]:
    """Read rows in batches.

    Args:
        file: The opened file.
        columns: Columns to read.
        start: Number of the first row to read.
        rows: Maximum number of rows per batch.

    Returns:
        Batches in order. A damaged row group yields one `Damage`, whose position does not depend on
        `start`, so that readers of different ranges report it once.
    """
    first = 0
    for group in range(file.num_row_groups):
        count = file.metadata.row_group(group).num_rows
        if first + count > start:
            yield from _group_batches(file, group, columns, first, start, rows)
        first += count


def _group_batches(
    file: pq.ParquetFile, group: int, columns: Sequence[str], first: int, start: int, rows: int
) -> Iterator[Rows]:
    batches = file.iter_batches(batch_size=rows, row_groups=[group], columns=list(columns))
    while True:
        try:
            batch = next(batches, None)
        except (OSError, pa.ArrowException) as error:
            if first >= start:
                yield Rows(first, Damage(one_line(error)))
            return
        if batch is None:
            return
        skipped = min(max(start - first, 0), len(batch))
        if skipped < len(batch):
            yield Rows(first + skipped, batch.slice(skipped))
        first += len(batch)


def one_line(error: Exception) -> str:
    """The message of an error on one line, at most 200 characters."""
    return " ".join(str(error).split())[:200] or type(error).__name__


def plain_values(column: pa.Array) -> list[object]:
    """The values of a column as Python objects.

    Returns:
        Python values; bytes if the column's texts are not valid UTF-8, and seconds since 1970 if its dates
        are outside the range of Python's dates.
    """
    if pa.types.is_timestamp(column.type):
        column = column.cast(pa.timestamp("us", column.type.tz), safe=False)
    with suppress(UnicodeDecodeError, OverflowError, ValueError):
        return column.to_pylist()
    if pa.types.is_temporal(column.type):
        return column.cast(pa.timestamp("s"), safe=False).cast(pa.int64()).to_pylist()
    return column.cast(
        pa.large_binary() if pa.types.is_large_string(column.type) else pa.binary()
    ).to_pylist()
