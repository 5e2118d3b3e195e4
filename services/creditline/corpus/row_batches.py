"""Rows of a Parquet file from any row on, in bounded memory: row groups before it are never touched."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

# Without a buffer, a whole column of a row group is read at once.
_READ_BYTES = 1 << 20


@dataclass(frozen=True)
class Damage:
    """Rows of one row group that cannot be read."""

    reason: str


@dataclass(frozen=True, eq=False)
class Rows:
    """Consecutive rows of a file, or what keeps them from being read. first: number of the first row."""

    first: int
    content: pa.RecordBatch | Damage


def open_parquet(path: Path) -> pq.ParquetFile:
    """The file, to be read piece by piece; to be closed. Raises OSError or ArrowException."""
    return pq.ParquetFile(path, buffer_size=_READ_BYTES)


def row_batches(file: pq.ParquetFile, columns: Sequence[str], *, start: int = 0, rows: int) -> Iterator[Rows]:
    """Rows from number `start` on, at most `rows` at once; a row group that is damaged gives one Damage.

    Where a damage begins does not depend on `start`: reading in pieces finds it once.
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
    """An error's own words, short enough for a sentence."""
    return " ".join(str(error).split())[:200] or type(error).__name__


def plain_values(column: pa.Array) -> list[object]:
    """Python values of a column.

    Bytes where a text is not UTF-8, whatever the schema says; seconds where a moment is no Python date.
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
