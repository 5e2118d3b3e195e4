"""The fast teacher: AbU's loss difference from a few passes per work, with gradients as control variates.

A work's change of loss is the sum of its first-order part ⟨∇L, Δθ⟩ and a remainder. The first-order part
needs no pass of the works once their gradients are stored. It is much too inaccurate on its own, because the
step is large, but the remainder can be estimated from few passes. Let g̅ be the work's mean gradient at many
draws, and g and ΔL its gradient and its change of loss at a few draws:

    score = ⟨g̅, Δθ⟩ + w · (ΔL − ⟨g, Δθ⟩) = ⟨g̅ − w·g, Δθ⟩ + w · ΔL

Only the row g̅ − w·g is stored for each work. w = 1 is the unbiased control variate; w < 1 shrinks the noise
of the few draws.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from creditline.attribution.attributor import Attributor, Gallery
from creditline.attribution.gradients.parameters import ParameterChoice, chosen_layers
from creditline.attribution.gradients.per_sample import (
    moved_parameters,
    parameter_count,
    per_sample_gradients,
)
from creditline.attribution.gradients.row_store import stored_rows
from creditline.attribution.unlearning.forgetting import Forgetting
from creditline.attribution.unlearning.scores import loss_difference
from creditline.errors import NotReady
from creditline.generator.losses import LOSS, ClearDraws, Draws, denoising_losses
from creditline.generator.pipeline import Generator

# Three passes per work. Losses in the noisiest third of the schedule hardly depend on the picture.
FEW_DRAWS = ClearDraws(timesteps=3, repeats=1, salt="fast", part=0.65)
CONTROL_DRAWS = Draws(timesteps=20, repeats=3, salt="control")
REMAINDER_WEIGHT = 0.7
_WORKS_PER_BLOCK = 64


class FastUnlearning(Attributor):
    """Approximation of `Unlearning` with the score "difference", at a fraction of its passes.

    Args:
        name: Name of the method.
        generator: The generator.
        forgetting: Creates the unlearning procedure from the works and the method's directory; it must change
            no other layers than those of `parameters`.
        parameters: The weights that unlearning changes.
        draws: Draws at which the works' losses are evaluated after unlearning.
        control: Draws of the stored mean gradients g̅.
        weight: Weight w of the remainder.
    """

    def __init__(
        self,
        name: str,
        generator: Generator,
        forgetting: Callable[[Gallery, Path], Forgetting],
        parameters: ParameterChoice,
        *,
        draws: Draws = FEW_DRAWS,
        control: Draws = CONTROL_DRAWS,
        weight: float = REMAINDER_WEIGHT,
    ) -> None:
        self.name = name
        self._generator = generator
        self._make_forgetting = forgetting
        self._parameters: ParameterChoice = parameters
        self._layers = chosen_layers(generator.unet, parameters)
        self._draws = draws
        self._control = control
        self._weight = weight
        self.bytes_per_work = 4.0 * (parameter_count(self._layers) + len(draws))
        self._works: Gallery | None = None
        self._forgetting: Forgetting | None = None
        self._rows: NDArray[np.float32] = np.empty((0, 0), np.float32)
        self._before = torch.empty(0)

    def prepare(self, works: Gallery, directory: Path) -> None:
        """Compute the works' rows and losses under θ₀, or open them from disk. An interrupted run resumes.

        Args:
            works: The works to score.
            directory: Directory of the method's artifacts.
        """
        origin = {
            "generator": self._generator.fingerprint,
            "corpus": works.fingerprint,
            "loss": LOSS,
            "draws": repr(self._draws),
        }
        rows_origin = {
            **origin,
            "control": repr(self._control),
            "weight": repr(self._weight),
            "parameters": self._parameters,
        }
        losses = stored_rows(
            directory / "losses-before",
            origin,
            len(works),
            lambda part: (
                denoising_losses(self._generator, works.examples.rows(part), self._draws).cpu().numpy()
            ),
            block=_WORKS_PER_BLOCK,
        )
        self._before = torch.from_numpy(np.array(losses)).to(self._generator.device)
        self._rows = stored_rows(
            directory / "rows",
            rows_origin,
            len(works),
            lambda part: self._control_rows(works, part).cpu().numpy(),
            block=_WORKS_PER_BLOCK,
        )
        self._works = works
        self._forgetting = self._make_forgetting(works, directory)

    def scores(self, queries: Gallery) -> NDArray[np.float64]:
        return self.scores_among(queries, np.ones((len(queries), len(self._rows)), dtype=np.bool_))

    def scores_among(self, queries: Gallery, mask: NDArray[np.bool_]) -> NDArray[np.float64]:
        if self._works is None or self._forgetting is None:
            raise NotReady(f"{self.name} is not prepared; call prepare with the works first")
        scores, passes = np.zeros(mask.shape), 0.0
        before = self._weights()
        for number, works in enumerate(np.flatnonzero(row) for row in mask):
            if not len(works):
                continue
            rows = torch.from_numpy(works).to(self._generator.device)
            examples = self._works.examples.rows(works.tolist())
            with self._forgetting.forget(self._generator, queries.examples.rows([number])) as forgotten:
                step = self._weights() - before
                after = denoising_losses(self._generator, examples, self._draws)
            passes += forgotten.passes + len(works) * len(self._draws)
            changes = loss_difference(self._before[rows], after, self._draws)
            first_order = (self._rows[works] @ step.cpu().numpy()).astype(np.float64)
            scores[number, works] = first_order + self._weight * changes
        self.passes_per_query = passes / len(queries)
        return scores

    def _control_rows(self, works: Gallery, part: range) -> Tensor:
        """Rows g̅ − w·g of a range of works: (len(part), P)."""
        examples = works.examples.rows(part)
        mean, few = (
            per_sample_gradients(self._generator, examples, draws, self._layers)
            for draws in (self._control, self._draws)
        )
        return mean - self._weight * few

    def _weights(self) -> Tensor:
        """Current parameters of the chosen layers: (P,)."""
        return torch.cat([values.detach().flatten() for values in moved_parameters(self._layers)])
