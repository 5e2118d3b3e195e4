"""Number formats of stored rows: float32, float16, and 8, 4 or 1 bits per number with a scale per row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from creditline.errors import InvalidInput

RowFormat = Literal["float32", "float16", "int8", "int4", "sign"]

# With 4 bits, clipping at this many root mean squares loses least for normally distributed numbers.
_INT4_CLIP = 2.7
# Eight steps on either side of zero, at half steps.
_INT4_HALF = 7.5


@dataclass(frozen=True)
class StoredRows:
    """Rows in a number format."""

    values: NDArray[Any]
    """(N, bytes of the format) in the format's type; two numbers per byte in int4, eight in
    sign."""
    scales: NDArray[np.float32]
    """(N,) float32 factor of each row, 1 for the float formats."""
    format: RowFormat
    """The number format."""
    width: int
    """Numbers in a row."""

    @property
    def bytes_per_row(self) -> float:
        """Bytes of one row with its scale."""
        scale = 0 if self.format.startswith("float") else self.scales.itemsize
        return self.values[:1].nbytes + scale

    def rows(self, which: Any = slice(None)) -> NDArray[np.float32]:
        """The rows as numbers: (n, width) float32.

        Args:
            which: Index of the wanted rows; all by default.
        """
        values, scales = np.asarray(self.values[which]), np.asarray(self.scales[which])
        if self.format == "sign":
            bits = np.unpackbits(values, axis=1, count=self.width)
            return (2 * bits.astype(np.float32) - 1) * scales[:, None]
        if self.format == "int4":
            whole = np.stack([values & 15, values >> 4], axis=-1).reshape(len(values), -1)[:, : self.width]
            return (whole.astype(np.float32) - _INT4_HALF) * scales[:, None]
        return values.astype(np.float32) * scales[:, None]


def stored_as(rows: NDArray[np.float32], form: RowFormat) -> StoredRows:
    """Convert rows to a number format.

    Args:
        rows: (N, k) float32.
        form: The format. In int8 the scale is that of the row's largest number; in int4 the largest numbers
            are clipped; "sign" keeps the signs and the row's mean size.

    Raises:
        InvalidInput: The format is unknown, or a row is not finite or beyond the format's range.
    """
    if form not in get_args(RowFormat):
        raise InvalidInput(
            f"unknown number format {form!r}; choose one of {', '.join(get_args(RowFormat))}", field="format"
        )
    _refuse_rows(np.isfinite(rows).all(axis=1), form)
    ones, width = np.ones(len(rows), dtype=np.float32), rows.shape[1]
    if form == "int8":
        scales = np.abs(rows).max(axis=1, initial=0.0) / np.float32(127)
        whole = np.rint(rows / _positive(scales)[:, None]).astype(np.int8)
        return StoredRows(whole, scales, form, width)
    if form == "int4":
        scales = np.sqrt(np.square(rows).mean(axis=1)) * np.float32(_INT4_CLIP / _INT4_HALF)
        return StoredRows(_nibbles(rows / _positive(scales)[:, None]), scales, form, width)
    if form == "sign":
        return StoredRows(np.packbits(rows >= 0, axis=1), np.abs(rows).mean(axis=1), form, width)
    with np.errstate(over="ignore"):
        values = rows.astype(form)
    _refuse_rows(np.isfinite(values).all(axis=1), form)
    return StoredRows(values, ones, form, width)


def _positive(scales: NDArray[np.float32]) -> NDArray[np.float32]:
    """Divisors of the rows: 1 for rows of zeros, whose scale is 0."""
    return np.where(scales > 0, scales, np.float32(1.0))


def _nibbles(rows: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Numbers in units of a step, rounded to half steps and packed two per byte: (N, ⌈k / 2⌉) uint8."""
    whole = np.clip(np.floor(rows) + 8, 0, 15).astype(np.uint8)
    if whole.shape[1] % 2:
        whole = np.pad(whole, ((0, 0), (0, 1)))
    packed: NDArray[np.uint8] = whole[:, ::2] | (whole[:, 1::2] << 4)
    return packed


def _refuse_rows(usable: Any, form: RowFormat) -> None:
    if not np.all(usable):
        raise InvalidInput(
            f"row {int(np.argmin(usable))} of {len(usable)} is NaN, infinite or beyond {form}; check that"
            " picture, and the generator's weights for NaN",
            field="format",
        )
