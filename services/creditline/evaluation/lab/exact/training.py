"""A training as a function of the weights of its works, under a fixed seed, order and noise."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from creditline.evaluation.lab.exact.flat_unet import FlatUnet
from creditline.evaluation.lab.exact.optimiser import SmoothAdamW, State, advance
from creditline.generator.denoiser import EMPTY_PROMPT_FRACTION, spread_timesteps
from creditline.generator.pipeline import Noising

_SEED_STRIDE = 1_000_003


@dataclass(frozen=True)
class StepInputs:
    """What one step is trained on; it depends on the seed and the step alone."""

    rows: Tensor
    """(B,) int64, rows of the works."""
    inputs: Tensor
    """(B, C, H, W), noisy latents."""
    timesteps: Tensor
    """(B,) int64."""
    text: Tensor
    """(B, L, D), text vectors of captions, or of the empty prompt."""
    targets: Tensor
    """(B, C, H, W), the velocities to predict."""


@dataclass(frozen=True)
class WeightedTraining:
    """A training in which each work has a weight in the loss.

    The loss of a step is Σ_b w[row_b] · ℓ_b / B: a weight of 0 leaves the work out, and nothing else changes.
    """

    model: FlatUnet
    """The UNet, with initial weights."""
    data: Mapping[str, Tensor]
    """The works: latents (N, C, H, W), text (N, L, D), empty (L, D), signal and noise (1000,)."""
    optimiser: SmoothAdamW
    """Optimiser and number of steps."""
    batch: int
    """Works per step B."""
    seed: int
    """Seed of the order, the dropped prompts, the timesteps and the noise."""

    @property
    def works(self) -> int:
        """Number of works N."""
        return len(self.data["latents"])

    def step_inputs(self, step: int) -> StepInputs:
        """The draws of a step, in the same order as those of the lab's training (`LabTask.loss`)."""
        data, batch = self.data, self.batch
        generator = torch.Generator().manual_seed(self.seed * _SEED_STRIDE + step)
        rows = torch.randint(self.works, (batch,), generator=generator)
        dropped = torch.rand(batch, generator=generator) < EMPTY_PROMPT_FRACTION
        latents = data["latents"][rows]
        text = torch.where(dropped[:, None, None], data["empty"], data["text"][rows])
        timesteps = spread_timesteps(len(data["signal"]), batch, generator)
        noise = torch.randn(latents.shape, generator=generator).to(latents.dtype)
        noising = Noising(data["signal"], data["noise"], "v_prediction")
        return StepInputs(
            rows,
            noising.noisy(latents, noise, timesteps),
            timesteps,
            text,
            noising.target(latents, noise, timesteps),
        )

    def losses(self, parameters: Mapping[str, Tensor], step: StepInputs) -> Tensor:
        """Squared error of the velocity of each picture of a step: (B,), differentiable."""
        predicted = self.model.predict(parameters, step.inputs, step.timesteps, step.text)
        return (predicted - step.targets).square().mean(dim=(1, 2, 3))

    def gradient(self, weights: Tensor, step: StepInputs, of_works: Tensor) -> Tensor:
        """Gradient of a step's loss.

        Args:
            weights: (P,) weights of the model.
            step: The step's inputs.
            of_works: (N,) weight of each work in the loss.

        Returns:
            (P,).
        """
        leaf = weights.detach().requires_grad_()
        loss = (of_works[step.rows] * self.losses(self.model.split(leaf), step)).mean()
        return torch.autograd.grad(loss, leaf)[0]

    def run(
        self,
        of_works: Tensor,
        start: State | None = None,
        steps: range | None = None,
        *,
        keep: Callable[[int, State], None] = lambda step, state: None,
    ) -> State:
        """Train from a state.

        Args:
            of_works: (N,) weight of each work in the loss.
            start: State before the first of the steps; None: the initial weights.
            steps: The steps to take; None: all.
            keep: Called with each step's number and the state before it.

        Returns:
            The state after the last step.
        """
        state = State.start(self.model.initial()) if start is None else start
        for step in steps or range(self.optimiser.steps):
            keep(step, state)
            gradient = self.gradient(state.weights, self.step_inputs(step), of_works)
            state = advance(self.optimiser, state, gradient, step)
        return state
