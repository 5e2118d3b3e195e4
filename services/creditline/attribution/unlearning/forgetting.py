"""Unlearning procedures: each provides a context in which the generator has unlearned one query.

`NaturalAscent`: natural-gradient ascent on the query's loss, in one or several steps (AbU, AbU+).
`BoundedDescentAscent`: Adam steps that lower the loss of random works and raise the query's loss at every
draw up to that of an untrained model (MUCS). The weights are restored exactly afterwards.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from creditline.attribution.fisher.ekfac import EkfacFisher
from creditline.attribution.fisher.key_value import DAMPING
from creditline.attribution.gradients.parameters import ParameterChoice, chosen_layers
from creditline.attribution.gradients.per_sample import (
    moved_layers,
    moved_parameters,
    parameter_count,
    per_sample_gradients,
)
from creditline.attribution.unlearning.ascent import RISE, refuse_without_slope, size_for_rise
from creditline.errors import InvalidInput
from creditline.generator.losses import Draws, Examples, denoising_losses, example_generator, noisy_batch
from creditline.generator.pipeline import Generator

_QUERY_DRAWS = Draws(timesteps=20, repeats=2, salt="query", mirrored=True)
_CHECK_DRAWS = Draws(timesteps=20, repeats=2, salt="check", mirrored=True)
_GRADIENTS_PER_BLOCK = 16


@dataclass(frozen=True)
class Forgotten:
    """Result of unlearning a query."""

    loss_before: float
    """The query's loss before unlearning."""
    loss_after: float
    """The query's loss after unlearning."""
    passes: float
    """UNet forward passes spent; a backward pass counts as two."""


class Forgetting(Protocol):
    """An unlearning procedure for one picture, or for several at once."""

    def forget(self, generator: Generator, query: Examples) -> AbstractContextManager[Forgotten]:
        """Context in which the generator has unlearned the query; its weights are restored afterwards.

        Args:
            generator: The generator.
            query: The query, one example, or several to unlearn together.
        """


@dataclass(frozen=True)
class NaturalAscent:
    """Natural-gradient ascent θ₋ = θ₀ + s · F⁻¹ · ∇L(query), with s found so that the loss rises by `rise`.

    With several steps the gradient is computed again before each step, and every step raises the loss by an
    equal factor. For several examples the mean of their losses rises.
    """

    fisher: EkfacFisher
    """Fisher information of the layers that `parameters` chooses."""
    parameters: ParameterChoice = "cross-attn"
    """The weights that are changed."""
    damping: float = DAMPING
    """Damping of the Fisher, relative to each layer's mean eigenvalue."""
    steps: int = 1
    """Number of steps."""
    rise: float = RISE
    """Relative rise of the query's loss after all steps."""
    query_draws: Draws = _QUERY_DRAWS
    """Draws of the query's gradient."""
    check_draws: Draws = _CHECK_DRAWS
    """Draws at which the query's loss is measured."""

    @contextmanager
    def forget(self, generator: Generator, query: Examples) -> Iterator[Forgotten]:
        """Context in which the generator has unlearned the query.

        Args:
            generator: The generator; its weights are restored afterwards.
            query: The query, one example, or several to unlearn together.

        Raises:
            InvalidInput: The query's loss cannot be raised by that much, or has no gradient.
        """
        layers = chosen_layers(generator.unet, self.parameters)
        before = float(denoising_losses(generator, query, self.check_draws).mean())
        change = _zeros(layers)
        passes = float(len(query) * len(self.check_draws))
        for step in range(1, self.steps + 1):
            target_loss = (1.0 + self.rise) ** (step / self.steps) * before
            step_change, trials = self._step(generator, query, change, target_loss)
            change = change + step_change
            passes += len(query) * (3 * len(self.query_draws) + trials * len(self.check_draws))
        with moved_layers(layers, change):
            yield Forgotten(
                before, float(denoising_losses(generator, query, self.check_draws).mean()), passes
            )

    def _step(
        self, generator: Generator, query: Examples, change: Tensor, target_loss: float
    ) -> tuple[Tensor, int]:
        """The step from θ₀ + change to the target loss, (P,), and the number of losses evaluated for it."""
        layers = chosen_layers(generator.unet, self.parameters)
        with moved_layers(layers, change):
            gradient = _mean_gradient(generator, query, self.query_draws, layers)
        direction = self.fisher.natural(gradient[None], damping=self.damping)[0]
        trials = 0

        def loss_at(size: float) -> float:
            nonlocal trials
            trials += 1
            with moved_layers(layers, change + size * direction):
                return float(denoising_losses(generator, query, self.check_draws).mean())

        current_loss = loss_at(0.0)
        slope = float((direction * gradient).sum())
        refuse_without_slope(current_loss, slope, query)
        rise = target_loss / current_loss - 1.0
        return size_for_rise(loss_at, rise * current_loss / slope, rise=rise) * direction, trials


def _zeros(layers: Mapping[str, torch.nn.Module]) -> Tensor:
    """A zero change of the layers' parameters, on their device: (P,)."""
    return torch.zeros(parameter_count(layers), device=moved_parameters(layers)[0].device)


def _mean_gradient(
    generator: Generator, examples: Examples, draws: Draws, layers: Mapping[str, torch.nn.Module]
) -> Tensor:
    """Gradient of the examples' mean loss, with the gradients of a few examples in memory at a time: (P,)."""
    total = _zeros(layers)
    for start in range(0, len(examples), _GRADIENTS_PER_BLOCK):
        part = examples.rows(range(start, min(start + _GRADIENTS_PER_BLOCK, len(examples))))
        total += per_sample_gradients(generator, part, draws, layers).sum(dim=0)
    return total / len(examples)


@dataclass(frozen=True)
class BoundedDescentAscent:
    """Minimise L(random works) − ascent · L̄(query) until L̄(query) ≥ reach · L_null in a step's own draws.

    L̄ is the mean over the draws of min(loss, L_null), as in MUCS's code: no draw counts as more unlearned
    than it is for an untrained model. `ascent` and `reach` are those of MUCS.
    """

    works: Examples
    """Works that must not be unlearned."""
    learning_rate: float
    """Learning rate of AdamW; MUCS takes a tenth of the training's."""
    null_loss: float = 1.0
    """L_null, the query's loss under an untrained model, in the mean squared error of the UNet's output."""
    parameters: ParameterChoice = "mlp-cond"
    """The weights that are changed."""
    ascent: float = 0.2
    """Weight of the query's loss."""
    reach: float = 0.95
    """Part of `null_loss` at which the query counts as unlearned."""
    batch: int = 16
    """Number of works per step."""
    query_batch: int = 16
    """Number of noisy copies of the query per step."""
    most_steps: int = 2_000
    """Maximal number of steps."""

    @contextmanager
    def forget(self, generator: Generator, query: Examples) -> Iterator[Forgotten]:
        """Context in which the generator has unlearned the query.

        Args:
            generator: The generator; its weights are restored afterwards.
            query: The query, one example.

        Raises:
            InvalidInput: The query's loss does not reach the bound within `most_steps` steps, or a loss
                becomes NaN or infinite.
        """
        layers = chosen_layers(generator.unet, self.parameters)
        with moved_layers(layers, _zeros(layers)):
            before = self._query_loss(generator, query)
            steps, after = self._run(generator, query, moved_parameters(layers))
            yield Forgotten(before, after, 3.0 * steps * (self.batch + self.query_batch))

    def _run(
        self, generator: Generator, query: Examples, parameters: list[torch.nn.Parameter]
    ) -> tuple[int, float]:
        draw = example_generator("forget", query.ids[0])
        optimiser = torch.optim.AdamW(parameters, lr=self.learning_rate)
        bound, reached = self.reach * self.null_loss, math.nan
        try:
            for parameter in parameters:
                parameter.requires_grad_(True)
            for step in range(self.most_steps):
                works_loss, query_loss = self._losses(generator, query, draw)
                reached = float(query_loss.detach())
                _refuse_lost(reached + float(works_loss.detach()), query, step)
                if reached >= bound:
                    return step + 1, reached
                optimiser.zero_grad()
                (works_loss - self.ascent * query_loss).backward()
                optimiser.step()
        finally:
            for parameter in parameters:
                parameter.requires_grad_(False)
                parameter.grad = None
        raise InvalidInput(
            f"query {query.ids[0]} is not unlearned after {self.most_steps} steps: its loss is"
            f" {reached:.3f}, below {bound:.3f}; check `null_loss`, or allow more steps",
            field="image",
        )

    def _losses(self, generator: Generator, query: Examples, draw: torch.Generator) -> tuple[Tensor, Tensor]:
        """Mean loss of random works, and that of the query with each draw's bounded, with a graph."""
        rows = torch.randint(len(self.works), (self.batch,), generator=draw).to(query.latents.device)
        latents = torch.cat([self.works.latents[rows], query.latents.expand(self.query_batch, -1, -1, -1)])
        text = torch.cat([self.works.text[rows], query.text.expand(self.query_batch, -1, -1)])
        timesteps = torch.randint(generator.timesteps, (len(latents),), generator=draw).to(latents.device)
        noise = torch.randn(latents.shape, generator=draw).to(latents.device)
        noisy = generator.noising.noisy(latents, noise, timesteps)
        with torch.enable_grad():
            predicted = generator.unet(noisy, timesteps, text).sample
            errors = (
                (predicted - generator.noising.target(latents, noise, timesteps)).square().mean(dim=(1, 2, 3))
            )
        return errors[: self.batch].mean(), errors[self.batch :].clamp(max=self.null_loss).mean()

    def _query_loss(self, generator: Generator, query: Examples) -> float:
        batch = noisy_batch(generator, query, _CHECK_DRAWS)
        with torch.no_grad():
            predicted = generator.unet(batch.inputs, batch.timesteps, batch.text).sample
        return float(batch.squared_errors(predicted).mean())


def _refuse_lost(loss: float, query: Examples, step: int) -> None:
    """Refuse to go on with a loss that is NaN or infinite: it would never reach its bound."""
    if not math.isfinite(loss):
        raise InvalidInput(
            f"the losses while {query.ids[0]!r} is unlearned become {loss} at step {step}; check that"
            " picture, and the generator's weights for NaN, or lower the learning rate",
            field="image",
        )
