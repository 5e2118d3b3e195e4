"""Compressed gradients of examples, the same for works and queries."""

from __future__ import annotations

import json

import numpy as np
from numpy.typing import NDArray

from creditline.attribution.gradients.parameters import ParameterChoice, chosen_layers
from creditline.attribution.gradients.per_sample import parameter_count, per_sample_gradients
from creditline.attribution.gradients.projection import PermutedSignSum
from creditline.attribution.gradients.targets import gradient_target_by_name
from creditline.attribution.methods.gradient_rows import GradientSpace
from creditline.errors import InvalidInput
from creditline.generator.losses import Draws, Examples
from creditline.generator.pipeline import Generator

_SEED = 0
DEFAULT_SPACE = GradientSpace(
    parameters="attn",
    measure="squared-l2",
    draws=Draws(timesteps=12, repeats=2, salt="rerank", mirrored=True),
    compressed=16_384,
)
"""D-TRAK's output function on the attention's parameters (arXiv 2311.00500), in 16 kB a work."""


class GradientSketch:
    """Gradients of one generator in a small space.

    Args:
        generator: The generator.
        space: Definition of the gradients; whitened and weighted spaces depend on the works, and are refused.

    Raises:
        InvalidInput: The space is whitened, weighted, or not compressed.
    """

    def __init__(self, generator: Generator, space: GradientSpace = DEFAULT_SPACE) -> None:
        if space.whitening is not None or space.weighting != "noise" or not space.compressed:
            raise InvalidInput(
                f"re-ranking cannot use the gradient space {space}; choose a compressed one without"
                " whitening and weights",
                field="space",
            )
        self.space = space
        self._generator = generator
        self._layers = chosen_layers(generator.unet, space.parameters)
        self._measure = gradient_target_by_name(space.measure)
        dimension = parameter_count(self._layers)
        self._projection = PermutedSignSum(dimension, min(dimension, space.compressed), _SEED)

    @property
    def dimension(self) -> int:
        """Numbers of one row: k."""
        return self._projection.size

    def rows(self, examples: Examples) -> NDArray[np.float32]:
        """Compressed gradients: (B, k) float32. Raises InvalidInput for a gradient that is not finite."""
        gradients = per_sample_gradients(
            self._generator, examples, self.space.draws, self._layers, measure=self._measure
        )
        compressed: NDArray[np.float32] = self._projection.project(gradients).cpu().numpy()
        return compressed


def stated_space(space: GradientSpace) -> str:
    """A space as files state it, in JSON."""
    return json.dumps(
        {
            "parameters": space.parameters,
            "measure": space.measure,
            "compressed": space.compressed,
            "draws": vars(space.draws),
        },
        sort_keys=True,
    )


def read_space(text: str) -> GradientSpace:
    """A space that `stated_space` wrote. Raises ValueError, KeyError or TypeError for anything else."""
    stated = json.loads(text)
    parameters: ParameterChoice = stated["parameters"]
    return GradientSpace(
        parameters=parameters,
        measure=str(stated["measure"]),
        draws=Draws(**stated["draws"]),
        compressed=int(stated["compressed"]),
    )
