"""Methods that compare gradients: of the query with each work's, in one of the spaces of `gradient_rows`.

On whitened rows a plain product is an influence function (EK-FAC, arXiv 2410.13850) and the first-order limit
of unlearning; on rows of the loss `Trak` is TRAK, on rows of the squared output it is D-TRAK.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from creditline.attribution.attributor import Attributor, Gallery
from creditline.attribution.methods.gradient_rows import GradientRows
from creditline.attribution.methods.trak import DualKernel, TrakDivisor
from creditline.errors import NotReady


class GradientMethod(Attributor):
    """What all of them share: rows of the works, and each query's products with them."""

    def __init__(self, name: str, rows: GradientRows) -> None:
        self.name = name
        self.rows = rows
        # A gradient counts as one forward and one backward pass of twice its cost.
        self.passes_per_query = 3.0 * len(rows.space.draws)

    def prepare(self, works: Gallery, directory: Path) -> None:
        self.rows.prepare(works, directory)
        self.bytes_per_work = self.rows.bytes_per_work

    def products(self, queries: Gallery) -> NDArray[np.float64]:
        """Each query's gradient with each work's row: (Q, N)."""
        return self.rows.inner_products(queries.examples)

    def scores(self, queries: Gallery) -> NDArray[np.float64]:
        return self.products(queries)


class GradientDot(GradientMethod):
    """The inner product: TracIn at one checkpoint (arXiv 2002.08484)."""


class GradientCosine(GradientMethod):
    """The cosine of the two gradients: what both lengths say is left out."""

    def scores(self, queries: Gallery) -> NDArray[np.float64]:
        of_queries = np.linalg.norm(self.rows.of_queries(queries.examples).cpu().numpy(), axis=1)
        return super().scores(queries) / of_queries[:, None] / row_norms(self.rows.rows)


class RenormalisedGradientDot(GradientMethod):
    """Divided by the work's own length, so that works of large gradients do not lead everywhere.

    Renormalised influence (arXiv 2201.10055) on loss rows.
    """

    def scores(self, queries: Gallery) -> NDArray[np.float64]:
        return super().scores(queries) / row_norms(self.rows.rows)


class Trak(GradientMethod):
    """φ(query)ᵀ (ΦᵀΦ + λ)⁻¹ φ(work) (arXiv 2303.14186), λ relative to the works' mean squared length.

    divisor: 1 (TRAK, D-TRAK), the length of (ΦᵀΦ + λ)⁻¹ φ(work) (relative influence, arXiv 2003.11630), or
    that of φ(work) (renormalised influence, arXiv 2201.10055).
    """

    def __init__(
        self, name: str, rows: GradientRows, regularisation: float, divisor: TrakDivisor = "one"
    ) -> None:
        super().__init__(name, rows)
        self._regularisation = regularisation
        self._divisor: TrakDivisor = divisor
        self._kernel: DualKernel | None = None

    def prepare(self, works: Gallery, directory: Path) -> None:
        super().prepare(works, directory)
        self._kernel = DualKernel(self.rows.gram())

    def scores(self, queries: Gallery) -> NDArray[np.float64]:
        return self.scores_at(queries, [self._regularisation])[self._regularisation]

    def scores_at(
        self, queries: Gallery, regularisations: Sequence[float]
    ) -> dict[float, NDArray[np.float64]]:
        """By λ, each (Q, N): gradients are taken once."""
        if self._kernel is None:
            raise NotReady(f"{self.name} is not prepared; call prepare with the works first")
        products = self.products(queries)
        return {value: self._kernel.scores(products, value, self._divisor) for value in regularisations}


def row_norms(rows: NDArray[np.float32]) -> NDArray[np.float64]:
    """(N, P) -> (N,), row by row (rows may be a memory map)."""
    return np.array([np.linalg.norm(row) for row in rows], dtype=np.float64)
