"""Methods that store one compressed gradient per work and timestep: DMin and Diffusion-ReTrac.

The lengths of gradients at the noisiest and at the cleanest timesteps differ by orders of magnitude, so that
a few timesteps dominate their average. Both methods normalise the gradients, each in its own way.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from creditline.attribution.attributor import Attributor, Gallery
from creditline.attribution.gradients.parameters import ParameterChoice, chosen_layers
from creditline.attribution.gradients.per_sample import parameter_count, per_sample_gradients
from creditline.attribution.gradients.projection import PermutedSignSum
from creditline.attribution.gradients.row_store import stored_rows
from creditline.errors import NotReady
from creditline.generator.losses import LOSS, Draws, Examples
from creditline.generator.pipeline import Generator

DRAWS = Draws(timesteps=20, repeats=1, salt="attribution")
SIZE = 4096
_WORKS_PER_BLOCK = 4
_QUERIES_PER_BLOCK = 4

# "both": gradients of query and work at the same timestep, both normalised to length 1 (DMin); "work": the
# work's gradient normalised at each timestep, the query's averaged over timesteps (Diffusion-ReTrac).
Normalised = Literal["both", "work"]


class TimestepGradients(Attributor):
    """Sum over timesteps of the inner products of compressed gradients.

    Args:
        name: Name of the method.
        generator: The generator.
        normalised: "both": DMin (arXiv 2412.08637), where gradients are normalised to length 1, permuted,
            multiplied by random signs and summed in groups. "work": Diffusion-ReTrac (arXiv 2401.09031),
            TracIn without the bias towards works whose sampled timesteps happen to have long gradients; the
            paper does not compress.
        parameters: Parameters that the gradients are taken with respect to.
        draws: Timesteps and noises of works and queries.
        size: Dimension of a compressed gradient.
        seed: Seed of the compression.
        shared: Directory of the works' gradients, which both methods share; None: that of `prepare`.

    Raises:
        InvalidInput: `size` is below 1 or above the number of parameters.
    """

    def __init__(
        self,
        name: str,
        generator: Generator,
        normalised: Normalised,
        *,
        parameters: ParameterChoice = "all",
        draws: Draws = DRAWS,
        size: int = SIZE,
        seed: int = 0,
        shared: Path | None = None,
    ) -> None:
        self.name = name
        self.bytes_per_work = 4.0 * draws.timesteps * size
        # A gradient counts as one forward and one backward pass of twice its cost.
        self.passes_per_query = 3.0 * len(draws)
        self._generator = generator
        self._normalised: Normalised = normalised
        self._parameters: ParameterChoice = parameters
        self._draws = draws
        self._layers = chosen_layers(generator.unet, parameters)
        self._compression = PermutedSignSum(parameter_count(self._layers), size, seed)
        self._shared = shared
        self._rows: NDArray[np.float32] | None = None

    def prepare(self, works: Gallery, directory: Path) -> None:
        """Compute the works' normalised, compressed gradients, (N, timesteps, size), or open them from disk.

        An interrupted run resumes after its last block.

        Args:
            works: The works to score.
            directory: Directory of the gradients, where none is shared.
        """
        origin = {
            "generator": self._generator.fingerprint,
            "corpus": works.fingerprint,
            "loss": LOSS,
            "draws": repr(self._draws),
            "parameters": self._parameters,
            "compression": str(self._compression),
        }
        if self._shared is not None:
            digest = hashlib.sha256(repr(sorted(origin.items())).encode()).hexdigest()
            directory = self._shared / f"timesteps-{digest[:12]}"
        self._rows = stored_rows(
            directory / "timesteps",
            origin,
            len(works),
            lambda part: self._compressed(works.examples.rows(part), unit=True).cpu().numpy(),
            block=_WORKS_PER_BLOCK,
        )

    def scores(self, queries: Gallery) -> NDArray[np.float64]:
        if self._rows is None:
            raise NotReady(f"{self.name} is not prepared; call prepare with the works first")
        works = torch.from_numpy(np.array(self._rows)).to(self._generator.device)
        blocks = []
        for start in range(0, len(queries), _QUERIES_PER_BLOCK):
            part = range(start, min(start + _QUERIES_PER_BLOCK, len(queries)))
            rows = self._compressed(queries.examples.rows(part), unit=self._normalised == "both")
            if self._normalised == "work":
                rows = rows.mean(dim=1, keepdim=True).expand_as(rows)
            blocks.append(torch.einsum("qtk,ntk->qn", rows, works))
        return torch.cat(blocks).double().cpu().numpy()

    def _compressed(self, examples: Examples, *, unit: bool) -> Tensor:
        """Compressed gradients: (B, timesteps, size); `unit`: normalised to length 1 before compression."""
        gradients = per_sample_gradients(
            self._generator, examples, self._draws, self._layers, by_timestep=True
        )
        if unit:
            lengths = gradients.norm(dim=2, keepdim=True)
            # A gradient of length 0 has no direction: it becomes 0, also where only its square underflows.
            gradients /= lengths.masked_fill(lengths == 0, torch.inf)
        return self._compression.project(gradients.flatten(0, 1)).view(*gradients.shape[:2], -1)
