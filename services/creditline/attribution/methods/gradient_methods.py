"""Methods that compare the query's gradient with each work's gradient, in one of `gradient_rows`' spaces.

On whitened rows the inner product is an influence function (EK-FAC, arXiv 2410.13850) and the first-order
limit of unlearning. `Trak` on rows of the loss is TRAK, on rows of the squared output it is D-TRAK.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from creditline.attribution.attributor import Attributor, Gallery
from creditline.attribution.methods.gradient_rows import GradientRows
from creditline.attribution.methods.trak import DualKernel, TrakDivisor
from creditline.errors import NotReady


class GradientMethod(Attributor):
    """Base of the gradient methods: the score is the inner product of the query's and the work's rows.

    Args:
        name: Name of the method.
        rows: Gradient rows, which several methods may share.
    """

    def __init__(self, name: str, rows: GradientRows) -> None:
        self.name = name
        self.rows = rows
        # A gradient counts as one forward and one backward pass of twice its cost.
        self.passes_per_query = 3.0 * len(rows.space.draws)

    def prepare(self, works: Gallery, directory: Path) -> None:
        self.rows.prepare(works, directory)
        self.bytes_per_work = self.rows.bytes_per_work

    def products(self, queries: Gallery) -> NDArray[np.float64]:
        """Inner products of each query's row with each work's row: (Q, N) float64."""
        return self.rows.inner_products(queries.examples)

    def scores(self, queries: Gallery) -> NDArray[np.float64]:
        return self.products(queries)


class GradientDot(GradientMethod):
    """Inner product of the two gradients: TracIn at one checkpoint (arXiv 2002.08484)."""


class GradientCosine(GradientMethod):
    """Cosine of the two gradients, independent of the lengths of both; 0 where either gradient is 0."""

    def scores(self, queries: Gallery) -> NDArray[np.float64]:
        query_norms = np.linalg.norm(self.rows.of_queries(queries.examples).cpu().numpy(), axis=1)
        by_query = divided(super().scores(queries), query_norms[:, None])
        return divided(by_query, row_norms(self.rows.rows))


class RenormalisedGradientDot(GradientMethod):
    """Inner product divided by the length of the work's gradient, so that long gradients do not dominate.

    On rows of the loss it is renormalised influence (arXiv 2201.10055). A work without gradient has score 0.
    """

    def scores(self, queries: Gallery) -> NDArray[np.float64]:
        return divided(super().scores(queries), row_norms(self.rows.rows))


class Trak(GradientMethod):
    """TRAK's kernel φ(query)ᵀ (ΦᵀΦ + λ)⁻¹ φ(work) (arXiv 2303.14186).

    Args:
        name: Name of the method.
        rows: Gradient rows φ.
        regularisation: λ, relative to the works' mean squared length, above 0.
        divisor: What the scores of a work are divided by. "one": 1 (TRAK, D-TRAK); "relative": the length of
            (ΦᵀΦ + λ)⁻¹ φ(work) (relative influence, arXiv 2003.11630); "renormalised": the length of φ(work)
            (renormalised influence, arXiv 2201.10055).
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
        """Scores at several regularisations; the queries' gradients are computed once.

        Args:
            queries: The queries, Q of them.
            regularisations: Values of λ, each above 0.

        Returns:
            Scores by λ, each (Q, N) float64.

        Raises:
            NotReady: `prepare` was not called.
            InvalidInput: A regularisation is not above 0.
        """
        if self._kernel is None:
            raise NotReady(f"{self.name} is not prepared; call prepare with the works first")
        products = self.products(queries)
        return {value: self._kernel.scores(products, value, self._divisor) for value in regularisations}


def divided(scores: NDArray[np.float64], lengths: NDArray[Any]) -> NDArray[np.float64]:
    """Scores divided by lengths that broadcast to their shape; 0 where a length is 0: (Q, N) -> (Q, N)."""
    return np.divide(scores, lengths, out=np.zeros_like(scores), where=lengths > 0)


def row_norms(rows: NDArray[np.float32]) -> NDArray[np.float64]:
    """Euclidean norms of the rows, one row at a time (the rows may be a memory map): (N, P) -> (N,)."""
    return np.array([np.linalg.norm(row) for row in rows], dtype=np.float64)
