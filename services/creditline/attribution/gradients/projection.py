"""Random projections of gradients that keep inner products in expectation, without the matrix in memory.

A matrix of ±1 or of Gaussians is made tile by tile from (seed, number of the block of rows) and used while
it is in the processor's cache; `PermutedSignSum` needs no matrix at all. Gradients come whole, or in parts.
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
# both numbers (rows share a seed by the block, Gaussians are drawn by the tile): change them, and old
# projections are others.
_BLOCK_ROWS = 512
_TILE_COLUMNS = 512


@dataclass(frozen=True)
class Projection(ABC):
    """A random linear map from P = `width` numbers to k = `size`; the same seed is the same map.

    str() names it, for an artifact's origin. Raises InvalidInput for sizes below 1 or a negative seed.
    """

    width: int
    size: int
    seed: int
    block: ClassVar[int] = _BLOCK_ROWS
    layout: ClassVar[str]

    def __post_init__(self) -> None:
        for field, least in (("width", 1), ("size", 1), ("seed", 0)):
            value = getattr(self, field)
            if value < least:
                raise InvalidInput(f"{field} {value} is too small; give {least} or more", field=field)

    def __str__(self) -> str:
        return f"{self.layout}, {self.width} to {self.size} numbers, seed {self.seed}"

    def project(self, rows: Tensor) -> Tensor:
        """(B, P) -> (B, k) float32; a row's numbers do not depend on the others, up to rounding.

        Raises InvalidInput for rows of another width.
        """
        if rows.ndim != 2 or rows.shape[1] != self.width:
            raise InvalidInput(
                f"rows of shape {tuple(rows.shape)} given; this projection takes (B, {self.width})"
            )
        return self.project_parts([rows])

    @torch.no_grad()
    def project_parts(self, parts: Iterable[Tensor]) -> Tensor:
        """The same from slices of the rows, in order, each (B, any width): no need to join them first.

        Raises InvalidInput when the slices are together not P wide.
        """
        sums: Tensor | None = None
        done = 0
        for piece in _pieces(parts, self.block):
            if sums is None:
                sums = torch.zeros(len(piece), self.size, device=piece.device)
            if done + piece.shape[1] > self.width:
                raise self._wrong_width(f"more than {self.width}")
            self._add(sums, piece.float(), done)
            done += piece.shape[1]
        if sums is None or done < self.width:
            raise self._wrong_width(str(done))
        return sums

    @abstractmethod
    def _add(self, sums: Tensor, piece: Tensor, start: int) -> None:
        """Add to sums (B, k) what the numbers from `start` on contribute: piece (B, up to `block`)."""

    def _wrong_width(self, found: str) -> InvalidInput:
        return InvalidInput(f"parts of {found} numbers a row given; this projection takes {self.width}")


class _TiledProjection(Projection):
    """A dense matrix of entries of mean 0 and variance 1/k."""

    def _add(self, sums: Tensor, piece: Tensor, start: int) -> None:
        first = 0
        for tile in self._tiles(start // self.block, piece.shape[1]):
            columns = sums[:, first : first + tile.shape[1]]
            columns.addmm_(piece, tile.to(piece.device), alpha=self._scale)
            first += tile.shape[1]

    @property
    @abstractmethod
    def _scale(self) -> float:
        """What the tiles are multiplied by."""

    @abstractmethod
    def _tiles(self, number: int, rows: int) -> Iterator[Tensor]:
        """The first `rows` of a block of the matrix, from left to right: (rows, up to 512) float32.

        Each may be overwritten by the next.
        """


class Rademacher(_TiledProjection):
    """Entries ±1/√k from the bits of SFC64, whose stream numpy keeps the same over its releases."""

    layout = f"rademacher (sfc64, {_BLOCK_ROWS} rows)"

    @property
    def _scale(self) -> float:
        return 2.0 / self.size**0.5

    def _tiles(self, number: int, rows: int) -> Iterator[Tensor]:
        """Tiles of ±½."""
        packed = self._packed(number)[:rows]
        buffer = torch.empty(rows * _TILE_COLUMNS)
        for first in range(0, self.size, _TILE_COLUMNS):
            count = min(_TILE_COLUMNS, self.size - first)
            bits = np.unpackbits(packed[:, first // 8 : (first + _TILE_COLUMNS) // 8], axis=1, count=count)
            yield buffer[: rows * count].view(rows, count).copy_(torch.from_numpy(bits)).sub_(0.5)

    def _packed(self, number: int) -> NDArray[np.uint8]:
        """A block's bits, eight to the byte: (512, ⌈k / 8⌉)."""
        row_bytes = -(-self.size // 8)
        words = np.random.SFC64([self.seed, number]).random_raw(self.block * row_bytes // 8)
        return words.astype("<u8", copy=False).view(np.uint8).reshape(self.block, row_bytes)


class Gaussian(_TiledProjection):
    """Normal entries of variance 1/k. About ten times slower to make than `Rademacher`, and no better."""

    layout = f"gaussian (torch, {_BLOCK_ROWS} rows, {_TILE_COLUMNS} columns)"

    @property
    def _scale(self) -> float:
        return 1.0 / self.size**0.5

    def _tiles(self, number: int, rows: int) -> Iterator[Tensor]:
        # Torch seeds by 32 bits only: counting up from a hashed seed gives no block another's numbers.
        first_seed = int(np.random.SeedSequence(self.seed).generate_state(1)[0])
        draw = torch.Generator().manual_seed((first_seed + number) % 2**32)
        for first in range(0, self.size, _TILE_COLUMNS):
            yield torch.randn(rows, min(_TILE_COLUMNS, self.size - first), generator=draw)


class PermutedSignSum(Projection):
    """DMin's compression (arXiv 2412.08637): permute, give random signs, sum in k groups; O(P) a row.

    Groups differ by one in length at most. Keeps 12 bytes for each of the P numbers. Raises InvalidInput
    when there would be more groups than numbers.
    """

    block = 1 << 16
    layout = "permuted sign sum (sfc64)"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.size > self.width:
            raise InvalidInput(
                f"{self.width} numbers make no {self.size} groups; ask for {self.width} or fewer",
                field="size",
            )

    def _add(self, sums: Tensor, piece: Tensor, start: int) -> None:
        groups, signs = self._groups_and_signs
        numbers = slice(start, start + piece.shape[1])
        places = groups[numbers].to(piece.device)
        signed = piece * signs[numbers].to(piece.device)
        for row_sums, row in zip(sums, signed, strict=True):
            row_sums.scatter_add_(0, places, row)

    @cached_property
    def _groups_and_signs(self) -> tuple[Tensor, Tensor]:
        """To which group each number goes and with which sign: (P,) int64 and float32."""
        draw = np.random.Generator(np.random.SFC64(self.seed))
        groups = draw.permutation(self.width) % self.size
        signs = 2.0 * draw.integers(0, 2, self.width, dtype=np.int8) - 1.0
        return torch.from_numpy(groups), torch.from_numpy(signs).float()


def _pieces(parts: Iterable[Tensor], width: int) -> Iterator[Tensor]:
    """Cut slices of rows anew: all pieces (B, width) but the last, which may be narrower."""
    waiting: Tensor | None = None
    for part in parts:
        if waiting is not None:
            missing = width - waiting.shape[1]
            waiting, part = torch.cat([waiting, part[:, :missing]], dim=1), part[:, missing:]
            if waiting.shape[1] < width:
                continue
            yield waiting
        whole = part.shape[1] // width * width
        for first in range(0, whole, width):
            yield part[:, first : first + width]
        waiting = part[:, whole:] if whole < part.shape[1] else None
    if waiting is not None:
        yield waiting
