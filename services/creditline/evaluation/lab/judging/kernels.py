"""Kernels of gradient methods, stored so that λ can be chosen again on any subsets without new gradients.

A kernel method's scores follow from two tables of inner products of gradient rows: of the works with each
other and of the queries with the works. DAS also needs the works' residuals.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from creditline.attribution.attributor import Attributor, Gallery
from creditline.attribution.ensembles.models import Ensemble
from creditline.attribution.methods.das import DiffusionAttributionScore
from creditline.attribution.methods.gradient_methods import Trak
from creditline.attribution.methods.trak import DualKernel, TrakDivisor
from creditline.errors import InvalidInput
from creditline.evaluation.lab.record import LabRecord
from creditline.tensor_files import read_artifact, write_arrays


@dataclass(frozen=True)
class KernelTables:
    """Inner products of the gradient rows of one model."""

    gram: NDArray[np.float64]
    """(N, N) float64, inner products of the works."""
    products: NDArray[np.float64]
    """(Q, N) float64, inner products of the queries with the works."""
    residuals: NDArray[np.float64] | None = None
    """(N,) float64, root of each work's mean squared error (DAS); None: no residuals."""

    def scores(
        self, regularisations: Sequence[float], divisor: TrakDivisor = "one"
    ) -> list[NDArray[np.float64]]:
        """Scores at several λ, by one eigendecomposition: (Q, N) float64 for each."""
        kernel, found = DualKernel(self.gram), []
        for value in regularisations:
            solved = kernel.scores(self.products, value, divisor)
            if self.residuals is not None:
                solved = DiffusionAttributionScore.weighted(solved, self.residuals, kernel.leverages(value))
            found.append(solved)
        return found


@dataclass(frozen=True)
class StoredKernel:
    """A kernel method's tables for queries of the lab."""

    rows: tuple[int, ...]
    """Rows of the scored queries in the lab's record."""
    models: Mapping[str, KernelTables]
    """Tables of each model by its name; a method of one model has one, an ensemble several."""

    def of_rows(self, rows: Sequence[int]) -> StoredKernel:
        """The kernel for some of its queries.

        Raises:
            InvalidInput: The kernel lacks a query.
        """
        position = {row: number for number, row in enumerate(self.rows)}
        missing = [row for row in rows if row not in position]
        if missing:
            raise InvalidInput(f"a kernel lacks queries {missing}; make it again for all queries")
        places = [position[row] for row in rows]
        models = {
            name: replace(tables, products=tables.products[places]) for name, tables in self.models.items()
        }
        return StoredKernel(tuple(rows), models)

    def scores(
        self, regularisations: Sequence[float], divisor: TrakDivisor = "one"
    ) -> list[NDArray[np.float64]]:
        """Scores at several λ, the mean over the models: (Q, N) float64 for each."""
        by_model = [tables.scores(regularisations, divisor) for tables in self.models.values()]
        return [np.mean(one, axis=0) for one in zip(*by_model, strict=True)]


def kernel_of(attributor: Attributor, queries: Gallery, rows: Sequence[int]) -> StoredKernel | None:
    """The tables of a prepared method; None for a method without a kernel.

    Args:
        attributor: The method, prepared.
        queries: The queries.
        rows: Rows of the queries in the lab's record.
    """
    if isinstance(attributor, Ensemble):
        found = attributor.each(lambda method: _tables(method, queries))
    else:
        found = {"own": _tables(attributor, queries)}
    models = {name: tables for name, tables in found.items() if tables is not None}
    return StoredKernel(tuple(rows), models) if models else None


def _tables(attributor: Attributor, queries: Gallery) -> KernelTables | None:
    if isinstance(attributor, DiffusionAttributionScore):
        return KernelTables(attributor.rows.gram(), attributor.products(queries), attributor.residuals)
    if isinstance(attributor, Trak):
        return KernelTables(attributor.rows.gram(), attributor.products(queries))
    return None


def write_kernel(kernel: StoredKernel, path: Path, record: LabRecord) -> None:
    """Write a kernel in float32, the works' table as its upper triangle; the directory is created."""
    arrays: dict[str, NDArray[np.float32]] = {}
    for name, tables in kernel.models.items():
        upper = tables.gram[np.triu_indices(len(tables.gram))]
        arrays |= {f"{name}.gram": upper.astype(np.float32)}
        arrays |= {f"{name}.products": tables.products.astype(np.float32)}
        if tables.residuals is not None:
            arrays |= {f"{name}.residuals": tables.residuals.astype(np.float32)}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_arrays(path, arrays, {"rows": json.dumps(kernel.rows), **asdict(record.fingerprints)})


def read_kernel(path: Path, record: LabRecord) -> StoredKernel:
    """Read a stored kernel.

    Raises:
        NotReady: The file does not exist.
        InvalidInput: The file is damaged.
        FingerprintMismatch: The kernel belongs to another generator or record.
    """
    command = f"creditline lab score {path.stem} --kernels {path.parent}"
    arrays, metadata = read_artifact(
        path, what="kernel", command=command, remedy="make it again", field="lab"
    )
    record.refuse_other_origin(metadata, f"{path} holds a kernel", f"make it again with `{command}`")
    names = dict.fromkeys(key.partition(".")[0] for key in arrays)
    models = {name: _read_tables(name, arrays, path) for name in names}
    return StoredKernel(tuple(json.loads(metadata["rows"])), models)


def _read_tables(name: str, arrays: Mapping[str, NDArray[np.float32]], path: Path) -> KernelTables:
    products = arrays[f"{name}.products"].astype(np.float64)
    works, upper = products.shape[1], arrays[f"{name}.gram"].astype(np.float64)
    if len(upper) != works * (works + 1) // 2:
        raise InvalidInput(f"{path} is damaged: its tables are of different works; make it again")
    gram = np.zeros((works, works))
    gram[np.triu_indices(works)] = upper
    gram += np.triu(gram, 1).T
    residuals = arrays.get(f"{name}.residuals")
    return KernelTables(gram, products, None if residuals is None else residuals.astype(np.float64))
