"""Random projections of gradients that preserve inner products in expectation, without a matrix in memory.

A Rademacher or Gaussian matrix is generated tile by tile from (seed, index of the block of rows) and used
while it is in the processor's cache; `PermutedSignSum` needs no matrix. Gradients can be passed whole or in
slices.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from creditline.errors import InvalidInput

# A tile of 512 × 512 float32 is 1 MiB, which stays in a core's second-level cache. The matrix depends on
# both numbers (the rows of a block share a seed, Gaussians are drawn by the tile): other values give other
# projections, so that stored ones become invalid.
_BLOCK_ROWS = 512
_TILE_COLUMNS = 512


@dataclass(frozen=True)
class Projection(ABC):
    """A random linear map from dimension P to dimension k; the same seed gives the same map.

    `str()` describes the map in the origin of an artifact.

    Raises:
        InvalidInput: A dimension is below 1, or the seed is negative.
    """

    width: int
    """Input dimension P."""
    size: int
    """Output dimension k."""
    seed: int
    """Seed of the map, 0 or more."""
    block: ClassVar[int] = _BLOCK_ROWS
    """Number of input components that are processed at a time."""
    layout: ClassVar[str]
    """Description of how the map is generated from its seed, part of an artifact's origin."""

    def __post_init__(self) -> None:
        for field, least in (("width", 1), ("size", 1), ("seed", 0)):
            value = getattr(self, field)
            if value < least:
                raise InvalidInput(
                    f"{field} {value} of the projection is too small; give {least} or more", field=field
                )

    def __str__(self) -> str:
        return f"{self.layout}, {self.width} to {self.size} numbers, seed {self.seed}"

    def project(self, rows: Tensor) -> Tensor:
        """Project rows: (B, P) -> (B, k) float32.

        The result for a row does not depend on the other rows, up to rounding.

        Raises:
            InvalidInput: The rows have another dimension than P.
        """
        if rows.ndim != 2 or rows.shape[1] != self.width:
            raise InvalidInput(
                f"rows have shape {tuple(rows.shape)}, but this projection takes (B, {self.width})"
            )
        return self.project_parts([rows])

    @torch.no_grad()
    def project_parts(self, parts: Iterable[Tensor]) -> Tensor:
        """Project rows that are passed as consecutive slices of columns, without joining them in memory.

        Args:
            parts: Slices of the rows in order, each (B, any number of columns), P columns together.

        Returns:
            Projected rows: (B, k) float32.

        Raises:
            InvalidInput: The slices do not have P columns together.
        """
        sums: Tensor | None = None
        done = 0
        for chunk in _column_chunks(parts, self.block):
            if sums is None:
                sums = torch.zeros(len(chunk), self.size, device=chunk.device)
            if done + chunk.shape[1] > self.width:
                raise self._dimension_mismatch(f"more than {self.width}")
            self._add(sums, chunk.float(), done)
            done += chunk.shape[1]
        if sums is None or done < self.width:
            raise self._dimension_mismatch(str(done))
        return sums

    @abstractmethod
    def _add(self, sums: Tensor, chunk: Tensor, start: int) -> None:
        """Add to `sums` (B, k) the contribution of the columns from `start` on: chunk (B, up to `block`)."""

    def _dimension_mismatch(self, found: str) -> InvalidInput:
        return InvalidInput(f"the parts have {found} numbers per row, but this projection takes {self.width}")


class _TiledProjection(Projection):
    """A dense random matrix whose entries have mean 0 and variance 1/k."""

    def _add(self, sums: Tensor, chunk: Tensor, start: int) -> None:
        first = 0
        for tile in self._tiles(start // self.block, chunk.shape[1]):
            columns = sums[:, first : first + tile.shape[1]]
            columns.addmm_(chunk, tile.to(chunk.device), alpha=self._scale)
            first += tile.shape[1]

    @property
    @abstractmethod
    def _scale(self) -> float:
        """Factor of the tiles."""

    @abstractmethod
    def _tiles(self, block_index: int, rows: int) -> Iterator[Tensor]:
        """Tiles of the first `rows` of a block of the matrix, from left to right: (rows, up to 512) float32.

        A tile may be overwritten by the next one.
        """


class Rademacher(_TiledProjection):
    """Entries ±1/√k from the bits of SFC64, whose stream is stable across numpy's releases."""

    layout = f"rademacher (sfc64, {_BLOCK_ROWS} rows)"

    @property
    def _scale(self) -> float:
        return 2.0 / self.size**0.5

    def _tiles(self, block_index: int, rows: int) -> Iterator[Tensor]:
        """Tiles of ±½."""
        packed = self._packed_bits(block_index)[:rows]
        buffer = torch.empty(rows * _TILE_COLUMNS)
        for first in range(0, self.size, _TILE_COLUMNS):
            count = min(_TILE_COLUMNS, self.size - first)
            bits = np.unpackbits(packed[:, first // 8 : (first + _TILE_COLUMNS) // 8], axis=1, count=count)
            yield buffer[: rows * count].view(rows, count).copy_(torch.from_numpy(bits)).sub_(0.5)

    def _packed_bits(self, block_index: int) -> NDArray[np.uint8]:
        """Bits of a block, eight per byte: (512, ⌈k / 8⌉)."""
        row_bytes = -(-self.size // 8)
        words = np.random.SFC64([self.seed, block_index]).random_raw(self.block * row_bytes // 8)
        return words.astype("<u8", copy=False).view(np.uint8).reshape(self.block, row_bytes)


class Gaussian(_TiledProjection):
    """Normal entries of variance 1/k. About ten times slower to generate than `Rademacher`, and no better."""

    layout = f"gaussian (torch, {_BLOCK_ROWS} rows, {_TILE_COLUMNS} columns)"

    @property
    def _scale(self) -> float:
        return 1.0 / self.size**0.5

    def _tiles(self, block_index: int, rows: int) -> Iterator[Tensor]:
        # Torch uses 32 bits of a seed only: counting up from a hashed seed gives every block its own numbers.
        first_seed = int(np.random.SeedSequence(self.seed).generate_state(1)[0])
        draw = torch.Generator().manual_seed((first_seed + block_index) % 2**32)
        for first in range(0, self.size, _TILE_COLUMNS):
            yield torch.randn(rows, min(_TILE_COLUMNS, self.size - first), generator=draw)


class PermutedSignSum(Projection):
    """DMin's compression (arXiv 2412.08637): permute, multiply by random signs, sum in k groups.

    O(P) operations per row. The sizes of the groups differ by at most one. Keeps 12 bytes in memory for each
    of the P input components.

    Raises:
        InvalidInput: k is above P, a dimension is below 1, or the seed is negative.
    """

    block = 1 << 16
    layout = "permuted sign sum (sfc64)"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.size > self.width:
            raise InvalidInput(
                f"{self.width} numbers cannot be summed in {self.size} groups; give a size of {self.width}"
                " or less",
                field="size",
            )

    def _add(self, sums: Tensor, chunk: Tensor, start: int) -> None:
        groups, signs = self._groups_and_signs
        columns = slice(start, start + chunk.shape[1])
        chunk_groups = groups[columns].to(chunk.device)
        signed = chunk * signs[columns].to(chunk.device)
        for row_sums, row in zip(sums, signed, strict=True):
            row_sums.scatter_add_(0, chunk_groups, row)

    @cached_property
    def _groups_and_signs(self) -> tuple[Tensor, Tensor]:
        """Group index and sign of each input component: (P,) int64 and (P,) float32."""
        draw = np.random.Generator(np.random.SFC64(self.seed))
        groups = draw.permutation(self.width) % self.size
        signs = 2.0 * draw.integers(0, 2, self.width, dtype=np.int8) - 1.0
        return torch.from_numpy(groups), torch.from_numpy(signs).float()


def _column_chunks(parts: Iterable[Tensor], size: int) -> Iterator[Tensor]:
    """Rechunk slices of rows by columns: each chunk is (B, size), the last one may have fewer columns."""
    pending: Tensor | None = None
    for part in parts:
        if pending is not None:
            missing = size - pending.shape[1]
            pending, part = torch.cat([pending, part[:, :missing]], dim=1), part[:, missing:]
            if pending.shape[1] < size:
                continue
            yield pending
        complete = part.shape[1] // size * size
        for first in range(0, complete, size):
            yield part[:, first : first + size]
        pending = part[:, complete:] if complete < part.shape[1] else None
    if pending is not None:
        yield pending
