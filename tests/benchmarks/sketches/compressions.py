"""The compressions of the curve: maps from exact rows to what is stored of a work, and to a query's row."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from creditline.attribution.fisher.ekfac import as_matrix
from creditline.attribution.gradients.per_sample import parameter_count
from creditline.attribution.gradients.projection import PermutedSignSum
from creditline.attribution.gradients.sketches.factored import (
    FactorMap,
    factor_masks,
    matrix_shape,
    two_sided,
)
from creditline.attribution.gradients.sketches.formats import RowFormat, stored_as
from creditline.attribution.gradients.sketches.low_rank import RankFactors, rank_factors
from creditline.attribution.gradients.sketches.sparse import MaskedSigns, RandomMask, SparseSigns
from tests.benchmarks.sketches.exact_rows import ExactRows

# Rows that are mapped at a time (bounds memory).
_BLOCK = 64
# The largest transform that is shown in float32 too.
_FLOATS_UP_TO = 16_384
EXACT, CONTROL = "exact", "random rows"
# None: the rows as they are.
RowMap = Callable[[Tensor], Tensor] | None


@dataclass(frozen=True)
class Compressed:
    """Rows as they are after a compression."""

    works: NDArray[np.float32]
    """(N, k) float32, read back from what is stored."""
    bytes_per_work: float
    """Bytes that are stored for a work."""
    queries: NDArray[np.float32]
    """(Q, k) float32; a query's row is not stored."""


@dataclass(frozen=True)
class Compression:
    """One point of the curve."""

    kind: str
    """Name of the map in tables."""
    size: str
    """Its dimensions, for tables."""
    formats: tuple[RowFormat, ...]
    """Number formats in which the rows are stored, one point each."""
    make_map: Callable[[int], RowMap]
    """From a seed to a map of rows (B, P) -> (B, k)."""
    rank: tuple[int, int, int] | None = None
    """(d₁, d₂, c): stored by factors of rank c of a matrix (d₁, d₂) per layer; None: as rows."""

    def __str__(self) -> str:
        return f"{self.kind} {self.size}"

    def of(self, rows: ExactRows, seed: int) -> dict[RowFormat, Compressed]:
        """The rows after this compression, by number format."""
        row_map = self.make_map(seed)
        works, queries = _mapped(rows.works, row_map), _mapped(rows.queries, row_map)
        return {form: Compressed(*self._stored(works, form), queries) for form in self.formats}

    def _stored(self, works: NDArray[np.float32], form: RowFormat) -> tuple[NDArray[np.float32], float]:
        """The works' rows as they are read back, and bytes per work."""
        if self.kind == EXACT:
            return works, float(works[:1].nbytes)
        if self.rank is not None:
            return _by_factors(works, *self.rank, form)
        stored = stored_as(works, form)
        return stored.rows(), stored.bytes_per_row


def _mapped(rows: NDArray[np.float32], row_map: RowMap) -> NDArray[np.float32]:
    if row_map is None:
        return rows
    parts = [
        row_map(torch.from_numpy(np.array(rows[start : start + _BLOCK])))
        for start in range(0, len(rows), _BLOCK)
    ]
    return torch.cat(parts).numpy()


@dataclass(frozen=True)
class _Layers:
    """The layers of the rows: how a row is divided into matrices."""

    modules: Mapping[str, nn.Module]

    @property
    def width(self) -> int:
        return parameter_count(self.modules)

    def by_maps(self, rows: Tensor, maps: Mapping[str, FactorMap]) -> Tensor:
        """Every layer's matrix, mapped on both sides: (B, P) -> (B, numbers of all layers)."""
        sizes = [parameter_count({name: module}) for name, module in self.modules.items()]
        parts = []
        for (name, module), part in zip(self.modules.items(), rows.split(sizes, dim=1), strict=True):
            matrix = as_matrix(part, matrix_shape(module), bias=module.bias is not None)
            parts.append(maps[name].of_gradient(matrix).flatten(1))
        return torch.cat(parts, dim=1)


def _by_factors(
    works: NDArray[np.float32], rows: int, columns: int, rank: int, form: RowFormat
) -> tuple[NDArray[np.float32], float]:
    """Rows of matrices (rows, columns) per layer, read back from stored factors, and bytes per work."""
    matrices = torch.from_numpy(works).view(-1, rows, columns)
    factors = rank_factors(matrices, rank)
    layers = len(matrices) // len(works)
    flat = torch.cat([factors.left.flatten(1), factors.right.flatten(1)], dim=1)
    stored = stored_as(flat.view(len(works), -1).numpy(), form)
    back = torch.from_numpy(stored.rows()).view(len(works) * layers, -1)
    left, right = back.split([rows * factors.left.shape[2], columns * factors.right.shape[2]], dim=1)
    dense = RankFactors(left.view_as(factors.left), right.reshape(factors.right.shape)).dense()
    return dense.view(len(works), -1).numpy(), stored.bytes_per_row


def exact() -> Compression:
    """The limit of all others."""
    return Compression(EXACT, "all", ("float32",), lambda seed: None)


def control(size: int) -> Compression:
    """Random rows that have nothing to do with the gradients."""

    def make(seed: int) -> RowMap:
        draw = torch.Generator().manual_seed(seed)
        return lambda rows: torch.randn(len(rows), size, generator=draw)

    return Compression(CONTROL, str(size), ("int8",), make)


def sparse(width: int, size: int, nonzeros: int = 1) -> Compression:
    """The sparse Johnson-Lindenstrauss transform."""
    name = "SJLT" if nonzeros == 1 else f"SJLT, {nonzeros} non-zeros"
    formats: tuple[RowFormat, ...] = ("int8", "int4", "sign") if nonzeros == 1 else ("int8",)
    if nonzeros == 1 and size <= _FLOATS_UP_TO:
        formats = ("float32", *formats)
    return Compression(
        name, str(size), formats, lambda seed: SparseSigns(width, size, seed, nonzeros=nonzeros).project
    )


def compressions(modules: Mapping[str, nn.Module]) -> Iterator[Compression]:
    """All points of the curve, for rows of these layers."""
    layers = _Layers(modules)
    width = layers.width
    yield exact()
    yield control(4096)
    yield Compression(
        "permuted sign sum", "65536", ("float32",), lambda seed: PermutedSignSum(width, 65_536, seed).project
    )
    for size in (131_072, 65_536, 32_768, 16_384, 8192, 4096, 2048, 1024):
        yield sparse(width, size)
    yield sparse(width, 8192, nonzeros=4)
    for size in (8192, 2048):
        yield Compression("mask", str(size), ("int8",), _mask_map(width, size))
        yield Compression("GraSS", f"{4 * size} to {size}", ("int8",), _masked_map(width, size))
        yield _factored_grass(layers, 0.5, size)
    for side in (16, 8, 4):
        yield _two_sided(layers, side)
    for side, rank in ((16, 2), (16, 1), (8, 1)):
        yield _two_sided(layers, side, rank)


def _mask_map(width: int, size: int) -> Callable[[int], RowMap]:
    return lambda seed: RandomMask(width, size, seed).project


def _masked_map(width: int, size: int) -> Callable[[int], RowMap]:
    return lambda seed: MaskedSigns(width, size, seed, kept=4 * size).project


def _factored_grass(layers: _Layers, fraction: float, size: int) -> Compression:
    def make(seed: int) -> RowMap:
        maps = factor_masks(layers.modules, fraction, seed)
        kept = sum(rows * columns for rows, columns in (one.shape for one in maps.values()))
        signs = SparseSigns(kept, size, seed)
        return lambda rows: signs.project(layers.by_maps(rows, maps))

    return Compression("FactGraSS", f"{fraction:g} of each side to {size}", ("int8",), make)


def _two_sided(layers: _Layers, side: int, rank: int | None = None) -> Compression:
    def make(seed: int) -> RowMap:
        maps = two_sided(layers.modules, side, side, seed)
        return lambda rows: layers.by_maps(rows, maps)

    if rank is None:
        return Compression("LoGRA", f"{side} x {side}", ("int8",), make)
    return Compression("LoRIF", f"{side} x {side}, rank {rank}", ("int8",), make, (side, side, rank))
