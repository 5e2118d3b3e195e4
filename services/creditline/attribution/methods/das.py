"""The diffusion attribution score (arXiv 2410.18639): the change of the model's output without a work.

One Gauss-Newton step on the squared error without work n changes the weights by (JᵀJ + λ)⁻¹ jₙ rₙ / (1 − hₙ),
where jₙ is the gradient of the output at the work, rₙ its residual and hₙ its leverage. The query's output
changes by the inner product of its own gradient with that step; the score is the absolute value. Compared
with D-TRAK, the score takes into account how well the model fits a work: a work without residual has no
influence.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from creditline.attribution.attributor import Gallery
from creditline.attribution.gradients.row_store import stored_rows
from creditline.attribution.methods.gradient_methods import GradientMethod
from creditline.attribution.methods.gradient_rows import GradientRows
from creditline.attribution.methods.trak import DualKernel
from creditline.errors import NotReady
from creditline.generator.losses import LOSS, denoising_losses
from creditline.generator.pipeline import Generator

_WORKS_PER_BLOCK = 128


class DiffusionAttributionScore(GradientMethod):
    """The score |φ(query)ᵀ (ΦᵀΦ + λ)⁻¹ φ(work)| · r / (1 − h).

    r is the square root of the work's mean squared error at the draws of the rows, h the work's leverage.

    Args:
        name: Name of the method.
        generator: The generator.
        rows: Gradient rows of an output function, as for D-TRAK.
        regularisation: λ, relative to the works' mean squared length, above 0.
    """

    def __init__(self, name: str, generator: Generator, rows: GradientRows, regularisation: float) -> None:
        super().__init__(name, rows)
        self._generator = generator
        self._regularisation = regularisation
        self._kernel: DualKernel | None = None
        self.residuals: NDArray[np.float64] = np.empty(0)
        """(N,) float64, root of each work's mean squared error; empty before `prepare`."""

    def prepare(self, works: Gallery, directory: Path) -> None:
        super().prepare(works, directory)
        draws = self.rows.space.draws
        origin = {
            "generator": self._generator.fingerprint,
            "corpus": works.fingerprint,
            "loss": LOSS,
            "draws": repr(draws),
        }
        losses = stored_rows(
            directory / "residuals",
            origin,
            len(works),
            lambda part: denoising_losses(self._generator, works.examples.rows(part), draws).cpu().numpy(),
            block=_WORKS_PER_BLOCK,
        )
        self.residuals = np.sqrt(np.asarray(losses, dtype=np.float64).mean(axis=1))
        self._kernel = DualKernel(self.rows.gram())

    def scores(self, queries: Gallery) -> NDArray[np.float64]:
        if self._kernel is None:
            raise NotReady(f"{self.name} is not prepared; call prepare with the works first")
        solved = self._kernel.scores(super().scores(queries), self._regularisation)
        return self.weighted(solved, self.residuals, self._kernel.leverages(self._regularisation))

    @staticmethod
    def weighted(
        solved: NDArray[np.float64], residuals: NDArray[np.float64], leverages: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """The score from the kernel's score: (Q, N), (N,), (N,) -> (Q, N) float64."""
        # With a tiny λ, rounding may take a leverage to 1.
        weighted: NDArray[np.float64] = (
            np.abs(solved) * residuals / np.maximum(1.0 - leverages, np.finfo(np.float64).eps)
        )
        return weighted
