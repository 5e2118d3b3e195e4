"""The diffusion attribution score (arXiv 2410.18639): how far leaving a work out moves the model's output.

One Gauss-Newton step of the squared error without work n moves the weights by (JᵀJ + λ)⁻¹ jₙ rₙ / (1 − hₙ):
jₙ the gradient of the output at the work, rₙ its residual, hₙ its leverage. The query's output then moves by
its own gradient times that; the score is the size of it. As D-TRAK's, but it knows which works the model has
not learnt: a work without residual moves nothing.
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
    """|φ(query)ᵀ (ΦᵀΦ + λ)⁻¹ φ(work)| · r / (1 − h).

    rows: of an output function, as D-TRAK's; r: the root of the work's mean squared error at the rows' draws;
    λ relative to the works' mean squared length, as everywhere here.
    """

    def __init__(self, name: str, generator: Generator, rows: GradientRows, regularisation: float) -> None:
        super().__init__(name, rows)
        self._generator = generator
        self._regularisation = regularisation
        self._kernel: DualKernel | None = None
        self._factors: NDArray[np.float64] = np.empty(0)

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
        residuals = np.sqrt(np.asarray(losses, dtype=np.float64).mean(axis=1))
        self._kernel = DualKernel(self.rows.gram())
        self._factors = residuals / (1.0 - self._kernel.leverages(self._regularisation))

    def scores(self, queries: Gallery) -> NDArray[np.float64]:
        if self._kernel is None:
            raise NotReady(f"{self.name} is not prepared; call prepare with the works first")
        solved = self._kernel.scores(super().scores(queries), self._regularisation)
        return np.abs(solved) * self._factors
