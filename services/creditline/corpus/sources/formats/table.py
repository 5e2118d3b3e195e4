"""Conversion of Arrow tables, from Parquet files or Hugging Face datasets, to rows of works."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from creditline.corpus.columns import PLAIN_FIELDS, columns_of, require_caption
from creditline.corpus.directions import directions
from creditline.corpus.numbered_ids import with_place
from creditline.corpus.records import fields_of
from creditline.corpus.row_batches import plain_values
from creditline.corpus.sources.downloads import STATUS_COLUMNS, download_fault
from creditline.corpus.sources.found import Features, Found, found_broken, found_work
from creditline.corpus.sources.losses import EMPTY_PICTURE, NO_FEATURES, NO_PICTURE, NOT_DOWNLOADED

_FEATURES = ("image_features", "text_features")
# Rows held in memory at once; fewer where rows have pictures.
_ROWS, _ROWS_WITH_PICTURES = 2048, 32


@dataclass(frozen=True)
class Table:
    """Mapping of a table's columns to the fields of a work."""

    fields: dict[str, tuple[str, ...]]
    """Columns of plain values, by field, in order of preference."""
    picture: str | None
    """Column of encoded pictures, as bytes or as structs with `bytes`; None without one."""
    features: dict[str, str]
    """Columns of features, by field."""
    widths: dict[str, int]
    """Dimension of the features, by field; 0 where it is not known yet."""
    status: tuple[str, ...] = ()
    """Columns in which img2dataset reports failed downloads; empty without them."""

    @classmethod
    def of(cls, schema: pa.Schema, where: object) -> Table:
        """The mapping for a schema.

        Args:
            schema: The table's schema.
            where: File or table, for the error message.

        Raises:
            InvalidInput: The table has no caption column.
        """
        require_caption(where, schema.names)
        columns = columns_of(_usable(schema))
        fields = {field: names for field, names in columns.items() if field in PLAIN_FIELDS}
        picture = next(iter(columns.get("picture", ())), None)
        features = {field: columns[field][0] for field in _FEATURES if field in columns}
        widths = {field: _width(_field(schema, column).type) for field, column in features.items()}
        status = STATUS_COLUMNS if set(STATUS_COLUMNS) <= set(schema.names) else ()
        return cls(fields, picture, features, widths, status)

    def measured(self, batch: pa.RecordBatch) -> Table:
        """The mapping with feature dimensions from the first rows, where the schema does not give them."""
        lengths = {field: _lengths(_column(batch, column)) for field, column in self.features.items()}
        first = {field: int(next(iter(counts[counts > 0]), 0)) for field, counts in lengths.items()}
        return replace(self, widths={field: self.widths[field] or first[field] for field in self.features})

    @property
    def mapping(self) -> dict[str, str]:
        """The columns that each field is read from, described in words."""
        fields = {field: " or ".join(columns) for field, columns in self.fields.items()}
        picture = {"picture": self.picture} if self.picture else {}
        return {**fields, **picture, **self.features}

    @property
    def plain_columns(self) -> list[str]:
        """Columns of plain values, without repetitions."""
        return list(
            dict.fromkeys([*(name for names in self.fields.values() for name in names), *self.status])
        )

    @property
    def columns(self) -> list[str]:
        """Columns to read, without repetitions."""
        pictures = [self.picture] if self.picture else []
        return list(dict.fromkeys([*self.plain_columns, *pictures, *self.features.values()]))

    @property
    def rows_at_once(self) -> int:
        """Number of rows held in memory at once."""
        return _ROWS_WITH_PICTURES if self.picture else _ROWS

    def found(
        self, batch: pa.RecordBatch, part: str, first: int, *, stem: str = "", shard: str | None = None
    ) -> Iterator[Found]:
        """Rows of a batch.

        Args:
            batch: The batch.
            part: Name of the part.
            first: Number of the batch's first row in the part.
            stem: Prefix of the ids of works that have none; defaults to the part's name without its suffix.
            shard: Place that keys were counted in, see `corpus.numbered_ids`; defaults to `stem`.
        """
        values = {column: _values(batch, column) for column in self.plain_columns}
        pictures = self._pictures(batch)
        features = {field: self._features(batch, field) for field in self.features}
        stem = stem or part.rsplit(".", 1)[0]
        shard = stem if shard is None else shard
        for offset in range(len(batch)):
            row = first + offset
            yield self._row(
                {column: held[offset] for column, held in values.items()},
                part,
                row,
                f"{stem}-{row}",
                shard,
                pictures[offset] if pictures else None,
                {field: rows[offset] for field, rows in features.items()},
            )

    def _row(
        self,
        record: dict[str, Any],
        part: str,
        row: int,
        own_id: str,
        shard: str,
        picture: bytes | None,
        features: dict[str, Features | str],
    ) -> Found:
        fault = download_fault(record)
        if fault:
            return found_broken(part, row, f"row {row} of {part} {fault}", loss=NOT_DOWNLOADED)
        faults = [
            f"{field.replace('_', ' ')} {rows}" for field, rows in features.items() if isinstance(rows, str)
        ]
        if faults:
            reason = f"row {row} of {part} has {' and '.join(faults)}; leave it out"
            return found_broken(part, row, reason, loss=NO_FEATURES)
        if self.picture and not picture and not self.features:
            what = "no picture" if picture is None else "an empty picture (0 bytes)"
            reason = f"row {row} of {part} has {what} in column {self.picture!r}; leave it out"
            return found_broken(part, row, reason, loss=NO_PICTURE if picture is None else EMPTY_PICTURE)
        return found_work(
            part,
            row,
            with_place(fields_of(record), record, shard),
            own_id=own_id,
            picture=picture or b"",
            **features,  # type: ignore[arg-type]
            record=record,
        )

    def _pictures(self, batch: pa.RecordBatch) -> list[bytes | None] | None:
        if self.picture is None:
            return None
        column = _column(batch, self.picture)
        return (pc.struct_field(column, "bytes") if pa.types.is_struct(column.type) else column).to_pylist()

    def _features(self, batch: pa.RecordBatch, field: str) -> list[Features | str]:
        """Each row's L2-normalised features: (dimension,) float32; or its fault, as part of a sentence."""
        lists, width = _column(batch, self.features[field]), self.widths[field]
        lengths = _lengths(lists)
        fits = (lengths == width) & (width > 0)
        numbers = np.full((len(lists), width), np.nan, dtype=np.float32)
        numbers[fits] = (
            lists.filter(pa.array(fits))
            .flatten()
            .to_numpy(zero_copy_only=False)
            .reshape(int(fits.sum()), width)
        )
        rows, whole = directions(numbers)
        return [
            rows[row]
            if whole[row]
            else "that are NaN, infinite or zero"
            if fits[row]
            else f"of dimension {lengths[row]} instead of {width}"
            for row in range(len(rows))
        ]


def _usable(schema: pa.Schema) -> list[str]:
    """Columns whose type is right for their field; an `image` column of texts is not a picture column."""
    fits = {"picture": _holds_bytes, **dict.fromkeys(_FEATURES, _holds_numbers)}
    unfit = set()
    for name in schema.names:
        for field in columns_of([name]):
            if field in fits and not fits[field](_field(schema, name).type):
                unfit.add(name)
    return [name for name in schema.names if name not in unfit]


def _holds_bytes(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        return any(field.name == "bytes" and _holds_bytes(field.type) for field in kind)
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)


def _holds_numbers(kind: pa.DataType) -> bool:
    is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    return is_list and pa.types.is_floating(kind.value_type)


def _width(kind: pa.DataType) -> int:
    return kind.list_size if pa.types.is_fixed_size_list(kind) else 0


def _lengths(lists: pa.Array) -> NDArray[np.int64]:
    lengths = pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False)
    return lengths.astype(np.int64)


def _field(schema: pa.Schema, name: str) -> pa.Field:
    return schema.field(schema.get_all_field_indices(name)[0])


def _column(batch: pa.RecordBatch, name: str) -> pa.Array:
    """The first column with a name; a file may have several."""
    return _one(batch.column(batch.schema.get_all_field_indices(name)[0]))


def _values(batch: pa.RecordBatch, name: str) -> list[object]:
    """Values of a column; of several columns with one name, a list for each row."""
    columns = [plain_values(_one(batch.column(place))) for place in batch.schema.get_all_field_indices(name)]
    return columns[0] if len(columns) == 1 else [list(row) for row in zip(*columns, strict=True)]


def _one(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    """A column as one array; the column of a table is chunked."""
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
