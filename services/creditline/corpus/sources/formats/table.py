"""Arrow tables of works, whether they come from Parquet files or from Hugging Face's."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from creditline.corpus.columns import columns_of, require_caption
from creditline.corpus.directions import directions
from creditline.corpus.row_batches import plain_values
from creditline.corpus.sources.found import Features, Found, found_broken, found_work

_FEATURES = ("image_features", "text_features")
# Of rows with pictures few are held at once.
_ROWS, _ROWS_WITH_PICTURES = 2048, 32


@dataclass(frozen=True)
class Table:
    """Which column of a table is taken for what.

    fields: columns of plain values by field. picture: a column of bytes, or of structs with `bytes`.
    widths: by field of features how many numbers a row has; 0 where nobody has said so yet.
    """

    fields: dict[str, str]
    picture: str | None
    features: dict[str, str]
    widths: dict[str, int]

    @classmethod
    def of(cls, schema: pa.Schema, where: object) -> Table:
        """Raises InvalidInput when there is no caption. where: the file, for the sentence."""
        require_caption(where, schema.names)
        columns = dict(columns_of(_usable(schema)))
        picture = columns.pop("picture", None)
        features = {field: columns.pop(field) for field in _FEATURES if field in columns}
        widths = {field: _width(schema.field(column).type) for field, column in features.items()}
        return cls(columns, picture, features, widths)

    def measured(self, batch: pa.RecordBatch) -> Table:
        """With the widths of the first rows that have features, where the schema does not say them."""
        lengths = {field: _lengths(_one(batch[column])) for field, column in self.features.items()}
        first = {field: int(next(iter(counts[counts > 0]), 0)) for field, counts in lengths.items()}
        return replace(self, widths={field: self.widths[field] or first[field] for field in self.features})

    @property
    def mapping(self) -> dict[str, str]:
        """By field the column that is taken for it."""
        picture = {"picture": self.picture} if self.picture else {}
        return {**self.fields, **picture, **self.features}

    @property
    def columns(self) -> list[str]:
        """Columns to be read, each once."""
        return list(dict.fromkeys(self.mapping.values()))

    @property
    def rows_at_once(self) -> int:
        """How many rows are held at once."""
        return _ROWS_WITH_PICTURES if self.picture else _ROWS

    def found(self, batch: pa.RecordBatch, part: str, first: int, *, stem: str = "") -> Iterator[Found]:
        """Rows of a batch. first: number of its first row in the part; stem: of ids where none are given."""
        values = {field: plain_values(_one(batch[column])) for field, column in self.fields.items()}
        pictures = self._pictures(batch)
        features = {field: self._features(batch, field) for field in self.features}
        stem = stem or part.rsplit(".", 1)[0]
        for offset in range(len(batch)):
            row = first + offset
            yield self._row(
                {field: column[offset] for field, column in values.items()},
                part,
                row,
                f"{stem}-{row}",
                pictures[offset] if pictures else None,
                {field: rows[offset] for field, rows in features.items()},
            )

    def _row(
        self,
        values: dict[str, Any],
        part: str,
        row: int,
        own_id: str,
        picture: bytes | None,
        features: dict[str, Features | str],
    ) -> Found:
        faults = [
            f"{field.replace('_', ' ')} {rows}" for field, rows in features.items() if isinstance(rows, str)
        ]
        if self.picture and not picture and not self.features:
            faults.append(f"no picture in column {self.picture!r}")
        if faults:
            return found_broken(part, row, f"row {row} of {part} has {' and '.join(faults)}; leave it out")
        return found_work(part, row, values, own_id=own_id, picture=picture or b"", **features)  # type: ignore[arg-type]

    def _pictures(self, batch: pa.RecordBatch) -> list[bytes | None] | None:
        if self.picture is None:
            return None
        column = _one(batch[self.picture])
        return (pc.struct_field(column, "bytes") if pa.types.is_struct(column.type) else column).to_pylist()

    def _features(self, batch: pa.RecordBatch, field: str) -> list[Features | str]:
        """Each row's direction: (width,) float32; or what is wrong with it, as part of a sentence."""
        lists, width = _one(batch[self.features[field]]), self.widths[field]
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
            else "that are no direction (NaN, infinite or zero)"
            if fits[row]
            else f"of width {lengths[row]} instead of {width}"
            for row in range(len(rows))
        ]


def _usable(schema: pa.Schema) -> list[str]:
    """Columns whose type fits what their name says: an `image` that is a text is no picture."""
    fits = {"picture": _holds_bytes, **dict.fromkeys(_FEATURES, _holds_numbers)}
    unfit = set()
    for name in schema.names:
        for field in columns_of([name]):
            if field in fits and not fits[field](schema.field(name).type):
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


def _one(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    """A batch's column is one array, a table's comes in chunks."""
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
