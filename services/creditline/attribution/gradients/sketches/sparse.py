"""Sparse maps of gradients: the sparse Johnson-Lindenstrauss transform, random masks, and both in turn.

The transform (Kane and Nelson, arXiv 1012.1577) adds each input component to a few of the k sums, with a
random sign: O(P) operations per row whatever k is. A mask keeps k of the components. GraSS (arXiv 2505.18976)
masks first and transforms what is left.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from creditline.attribution.gradients.projection import Projection
from creditline.errors import InvalidInput

# Number of components that share a stream of random numbers; another value gives another map.
_BLOCK = 1 << 16


@dataclass(frozen=True)
class SparseSigns(Projection):
    """The sparse Johnson-Lindenstrauss transform (SJLT): `nonzeros` entries ±1/√nonzeros in each column.

    The k sums are divided into as many equal parts as there are non-zeros; each component has one entry in
    each part. The entries are generated block by block from (seed, index of the block) and never stored.

    Raises:
        InvalidInput: k is not a multiple of `nonzeros`, a dimension is below 1, or the seed is negative.
    """

    nonzeros: int = 1
    """Number of sums that each input component is added to."""
    block = _BLOCK
    layout = f"sparse signs (sfc64, {_BLOCK} rows)"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.nonzeros < 1 or self.size % self.nonzeros:
            raise InvalidInput(
                f"{self.size} sums cannot be divided into {self.nonzeros} equal parts; give a size that is a"
                " multiple of the number of non-zeros",
                field="nonzeros",
            )

    def __str__(self) -> str:
        return f"{super().__str__()}, {self.nonzeros} non-zeros"

    def _add(self, sums: Tensor, chunk: Tensor, start: int) -> None:
        self.add_columns(sums, chunk, start)

    def add_columns(self, sums: Tensor, columns: Tensor, start: int) -> None:
        """Add the contribution of consecutive components to the sums.

        Args:
            sums: (B, k) float32, changed in place.
            columns: (B, n) float32, components `start` to `start + n`.
            start: Index of the first component.
        """
        done = 0
        while done < columns.shape[1]:
            index, offset = divmod(start + done, _BLOCK)
            count = min(_BLOCK - offset, columns.shape[1] - done)
            entries = self._entries(index)[:, offset : offset + count].to(columns.device)
            _add_signed(sums, columns[:, done : done + count], entries, self.nonzeros**-0.5)
            done += count

    def _entries(self, index: int) -> Tensor:
        """Sum and sign of each entry of a block, as sum + k for a negative sign: (nonzeros, block) int32."""
        count = self.nonzeros * _BLOCK
        words = np.random.SFC64([self.seed, index]).random_raw(count // 2)
        uniform = words.astype("<u8", copy=False).view("<u4").astype(np.uint64).reshape(self.nonzeros, -1)
        part = self.size // self.nonzeros
        # Multiply and shift: a number below 2 · part from 32 random bits. The upper half is negative.
        drawn = ((uniform * np.uint64(2 * part)) >> np.uint64(32)).astype(np.int32)
        negative = drawn >= part
        first = np.arange(self.nonzeros, dtype=np.int32)[:, None] * part
        return torch.from_numpy(drawn + first + np.where(negative, self.size - part, 0).astype(np.int32))


def _add_signed(sums: Tensor, columns: Tensor, entries: Tensor, scale: float) -> None:
    """Add columns (B, n) to sums (B, k) by entries (nonzeros, n) that are sum + k for a negative sign."""
    size = sums.shape[1]
    for row_sums, row in zip(sums, columns, strict=True):
        signed = torch.zeros(2 * size, device=sums.device)
        for targets in entries:
            signed.index_add_(0, targets, row)
        row_sums.add_(signed[:size] - signed[size:], alpha=scale)


@dataclass(frozen=True)
class RandomMask(Projection):
    """A random choice of k of the P components, times √(P/k) so that lengths are kept in expectation.

    Raises:
        InvalidInput: k is above P, a dimension is below 1, or the seed is negative.
    """

    block = _BLOCK
    layout = "random mask (sfc64)"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.size > self.width:
            raise InvalidInput(
                f"a mask cannot keep {self.size} of {self.width} components; give a size of {self.width} or"
                " less",
                field="size",
            )

    def _add(self, sums: Tensor, chunk: Tensor, start: int) -> None:
        first, last = np.searchsorted(self.kept, [start, start + chunk.shape[1]])
        columns = torch.from_numpy(self.kept[first:last] - start).to(chunk.device)
        sums[:, first:last] = chunk[:, columns] * (self.width / self.size) ** 0.5

    @cached_property
    def kept(self) -> NDArray[np.int64]:
        """Indices of the components that are kept, in order: (k,) int64."""
        keys = np.random.SFC64(self.seed).random_raw(self.width)
        return np.sort(np.argpartition(keys, self.size - 1)[: self.size])


@dataclass(frozen=True)
class MaskedSigns(Projection):
    """GraSS: a random mask that keeps `kept` components, then the sparse transform of these.

    Raises:
        InvalidInput: `kept` is above P, a dimension is below 1, or the seed is negative.
    """

    kept: int = 1
    """Number of components that the mask keeps."""
    block = _BLOCK
    layout = "random mask and sparse signs (sfc64)"

    def __post_init__(self) -> None:
        super().__post_init__()
        _ = self._mask, self._signs

    def __str__(self) -> str:
        return f"{super().__str__()}, {self.kept} kept"

    def _add(self, sums: Tensor, chunk: Tensor, start: int) -> None:
        first, last = np.searchsorted(self._mask.kept, [start, start + chunk.shape[1]])
        columns = torch.from_numpy(self._mask.kept[first:last] - start).to(chunk.device)
        scale = (self.width / self.kept) ** 0.5
        self._signs.add_columns(sums, chunk[:, columns] * scale, int(first))

    @cached_property
    def _mask(self) -> RandomMask:
        return RandomMask(self.width, self.kept, self.seed)

    @cached_property
    def _signs(self) -> SparseSigns:
        return SparseSigns(self.kept, self.size, self.seed + 1)
