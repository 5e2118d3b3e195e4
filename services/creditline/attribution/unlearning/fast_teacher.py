"""The fast teacher: AbU's loss difference from a few passes a work, with its gradient as a control variate.

A work's change of loss is its first-order part ⟨∇L, Δθ⟩ and a remainder. The first part needs no pass of
the works at all once their gradients are kept; it is far too little on its own (the step is a large one), but
what it leaves is small enough to be told from few passes. With g̅ the work's mean gradient at many draws, and
at the few draws themselves g and the change of loss ΔL,

    score = ⟨g̅, Δθ⟩ + w · (ΔL − ⟨g, Δθ⟩) = ⟨g̅ − w·g, Δθ⟩ + w · ΔL

so that one row is kept of each work. w = 1 is the unbiased control variate; less than 1 shrinks the noise of
the few draws.
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

# Three passes a work; the noisiest third of the schedule says next to nothing about which work it is.
FEW_DRAWS = ClearDraws(timesteps=3, repeats=1, salt="fast", part=0.65)
CONTROL_DRAWS = Draws(timesteps=20, repeats=3, salt="control")
REMAINDER_WEIGHT = 0.7
_WORKS_PER_BLOCK = 64


class FastUnlearning(Attributor):
    """`Unlearning` with the score "difference", at a fraction of its passes.

    forgetting: as there, and it moves no other layers than `parameters` chooses; draws: at which the works'
    losses are really taken; control: of the gradients that are kept; weight: w.
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
        """The works' rows and losses under θ₀, and the way to forget; resumes."""
        origin = {
            "generator": self._generator.fingerprint,
            "corpus": works.fingerprint,
            "loss": LOSS,
            "draws": repr(self._draws),
        }
        of_rows = {
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
            of_rows,
            len(works),
            lambda part: self._controlled(works, part).cpu().numpy(),
            block=_WORKS_PER_BLOCK,
        )
        self._works = works
        self._forgetting = self._make_forgetting(works, directory)

    def scores(self, queries: Gallery) -> NDArray[np.float64]:
        return self.scores_among(queries, np.ones((len(queries), len(self._rows)), dtype=np.bool_))

    def scores_among(self, queries: Gallery, wanted: NDArray[np.bool_]) -> NDArray[np.float64]:
        if self._works is None or self._forgetting is None:
            raise NotReady(f"{self.name} is not prepared; call prepare with the works first")
        found, passes = np.zeros(wanted.shape), 0.0
        before = self._weights()
        for number, works in enumerate(np.flatnonzero(row) for row in wanted):
            if not len(works):
                continue
            rows = torch.from_numpy(works).to(self._generator.device)
            examples = self._works.examples.rows(works.tolist())
            with self._forgetting.forget(self._generator, queries.examples.rows([number])) as forgotten:
                step = self._weights() - before
                after = denoising_losses(self._generator, examples, self._draws)
            passes += forgotten.passes + len(works) * len(self._draws)
            changes = loss_difference(self._before[rows], after, self._draws)
            along = (self._rows[works] @ step.cpu().numpy()).astype(np.float64)
            found[number, works] = along + self._weight * changes
        self.passes_per_query = passes / len(queries)
        return found

    def _controlled(self, works: Gallery, part: range) -> Tensor:
        """g̅ − w·g of a range of works: (len(part), P)."""
        examples = works.examples.rows(part)
        mean, few = (
            per_sample_gradients(self._generator, examples, draws, self._layers)
            for draws in (self._control, self._draws)
        )
        return mean - self._weight * few

    def _weights(self) -> Tensor:
        """The chosen layers' parameters as they are now: (P,)."""
        return torch.cat([values.detach().flatten() for values in moved_parameters(self._layers)])
