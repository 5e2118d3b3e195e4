"""Journey-TRAK (arXiv 2312.06205): TRAK of the sampling trajectory instead of the finished picture.

At each sampling step the UNet predicts a clean picture x̂₀. The query's feature is the gradient of the loss at
that prediction, with noise of that step's level, averaged over the steps; the works' features are TRAK's.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from creditline.attribution.attributor import Gallery
from creditline.attribution.gradients.parameters import chosen_layers
from creditline.attribution.gradients.per_sample import per_sample_gradients
from creditline.attribution.methods.gradient_methods import Trak
from creditline.attribution.methods.gradient_rows import GradientRows
from creditline.errors import InvalidInput
from creditline.generator.losses import DrawsAt, Examples
from creditline.generator.pipeline import Generator

STEPS = 20


class JourneyTrak(Trak):
    """TRAK with gradients along the sampling trajectory of the query, for pictures of the generator only.

    Args:
        name: Name of the method.
        generator: The generator that sampled the queries.
        rows: Gradient rows of the loss.
        regularisation: λ of TRAK's kernel, above 0.
        seeds: Sampling seed of each query's picture, by query id.
        steps: Number of sampling steps; the first one, which starts from noise alone, is left out.
    """

    def __init__(
        self,
        name: str,
        generator: Generator,
        rows: GradientRows,
        regularisation: float,
        seeds: Mapping[str, int],
        *,
        steps: int = STEPS,
    ) -> None:
        super().__init__(name, rows, regularisation)
        self._generator = generator
        self._seeds = seeds
        self._steps = steps
        self._layers = chosen_layers(generator.unet, rows.space.parameters)
        # Sampling with guidance, then one pass that predicts x̂₀ and one gradient, at every step.
        self.passes_per_query = 2.0 * steps + (1.0 + 3.0) * (steps - 1)

    def prepare(self, works: Gallery, directory: Path) -> None:
        """Compute the works' rows, or open them from disk.

        Args:
            works: The works to score.
            directory: Directory of the rows.

        Raises:
            InvalidInput: The rows are gradients of another measure than the loss.
        """
        if self.rows.space.measure != "loss":
            raise InvalidInput(
                f"Journey-TRAK needs gradients of the loss, not of {self.rows.space.measure!r}; give rows"
                " with measure 'loss'",
                field="measure",
            )
        super().prepare(works, directory)

    def products(self, queries: Gallery) -> NDArray[np.float64]:
        gradients = [
            self._gradient(queries.examples.rows([row]), queries.prompts[row]) for row in range(len(queries))
        ]
        return self.rows.with_gradients(torch.stack(gradients))

    def _gradient(self, query: Examples, prompt: str) -> Tensor:
        """Gradient of the loss at x̂₀, averaged over the steps: (P,). `query` has one row."""
        if query.ids[0] not in self._seeds:
            raise InvalidInput(
                f"the sampling seed of query {query.ids[0]} is not known; Journey-TRAK attributes only"
                " pictures that this generator sampled from a recorded seed"
            )
        latents, timesteps = self._generator.trajectory(prompt, self._seeds[query.ids[0]], steps=self._steps)
        predicted_clean = self._predicted_clean(latents, timesteps, query.text)
        total: Tensor | None = None
        for clean, timestep in zip(predicted_clean, timesteps.tolist(), strict=True):
            example = Examples((f"{query.ids[0]}@{timestep}",), clean[None], query.text)
            gradient = per_sample_gradients(
                self._generator, example, DrawsAt(salt="journey", at=timestep), self._layers
            )[0]
            total = gradient if total is None else total + gradient
        if total is None:
            raise InvalidInput(
                f"{self._steps} sampling steps are too few for Journey-TRAK; give 2 or more", field="steps"
            )
        return total / len(timesteps)

    @torch.no_grad()
    def _predicted_clean(self, latents: Tensor, timesteps: Tensor, text: Tensor) -> Tensor:
        """x̂₀ at each step: (steps − 1, C, H, W)."""
        predicted = self._generator.unet(latents, timesteps, text.expand(len(latents), -1, -1)).sample
        return self._generator.noising.clean(latents, predicted, timesteps)
