"""Journey-TRAK (arXiv 2312.06205): TRAK for how a picture came to be, step by step, not for what it became.

At each step of the sampling the UNet believes in some picture x̂₀. The query's feature is the gradient of the
loss of that belief, at noise of that step, averaged over the steps; the works' features are TRAK's.
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
    """seeds: from which each query's picture was made, by id; only pictures of the generator have a journey.

    steps: of the sampling; the first, of noise alone, is left out.
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
        # Sampling with guidance, then a pass to see what is believed and a gradient, at every step.
        self.passes_per_query = 2.0 * steps + (1.0 + 3.0) * (steps - 1)

    def prepare(self, works: Gallery, directory: Path) -> None:
        """Raises InvalidInput for rows of another measure than the loss."""
        if self.rows.space.measure != "loss":
            raise InvalidInput("Journey-TRAK is of gradients of the loss; give rows of that", field="measure")
        super().prepare(works, directory)

    def products(self, queries: Gallery) -> NDArray[np.float64]:
        gradients = [
            self._gradient(queries.examples.rows([row]), queries.prompts[row]) for row in range(len(queries))
        ]
        return self.rows.with_gradients(torch.stack(gradients))

    def _gradient(self, query: Examples, prompt: str) -> Tensor:
        """Mean over the steps of the gradient of the belief's loss: (P,). query: of one row."""
        if query.ids[0] not in self._seeds:
            raise InvalidInput(f"query {query.ids[0]} was not made by this generator: it has no journey")
        passed, timesteps = self._generator.journey(prompt, self._seeds[query.ids[0]], steps=self._steps)
        beliefs = self._beliefs(passed, timesteps, query.text)
        total: Tensor | None = None
        for belief, timestep in zip(beliefs, timesteps.tolist(), strict=True):
            example = Examples((f"{query.ids[0]}@{timestep}",), belief[None], query.text)
            gradient = per_sample_gradients(
                self._generator, example, DrawsAt(salt="journey", at=timestep), self._layers
            )[0]
            total = gradient if total is None else total + gradient
        if total is None:
            raise InvalidInput(
                f"{self._steps} sampling steps leave no journey; take 2 or more", field="steps"
            )
        return total / len(timesteps)

    @torch.no_grad()
    def _beliefs(self, passed: Tensor, timesteps: Tensor, text: Tensor) -> Tensor:
        """x̂₀ at each step: (steps − 1, C, H, W)."""
        predicted = self._generator.unet(passed, timesteps, text.expand(len(passed), -1, -1)).sample
        return self._generator.noising.clean(passed, predicted, timesteps)
