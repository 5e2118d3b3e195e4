"""Ways to make a model forget one query; each opens a context in which the generator has forgotten it.

`NaturalAscent`: natural-gradient ascent on the query's loss, in one or several steps (AbU, AbU+).
`BoundedDescentAscent`: Adam steps that lower the loss of random works and raise the query's, until that is
near what an untrained model has (MUCS). Afterwards the weights are exactly as before.
"""

from __future__ import annotations

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
from creditline.attribution.unlearning.ascent import RISE, size_for_rise
from creditline.errors import InvalidInput
from creditline.generator.losses import Draws, Examples, denoising_losses, example_generator, noisy_batch
from creditline.generator.pipeline import Generator

_QUERY_DRAWS = Draws(timesteps=20, repeats=2, salt="query", mirrored=True)
_CHECK_DRAWS = Draws(timesteps=20, repeats=2, salt="check", mirrored=True)
_GRADIENTS_AT_ONCE = 16


@dataclass(frozen=True)
class Forgotten:
    """What a way did to the query. passes: UNet forwards spent, a backward counting as two."""

    loss_before: float
    loss_after: float
    passes: float


class Forgetting(Protocol):
    """A way to forget one picture, or a few at once."""

    def forget(self, generator: Generator, query: Examples) -> AbstractContextManager[Forgotten]:
        """A context in which the generator has forgotten the query; yields `Forgotten`."""


@dataclass(frozen=True)
class NaturalAscent:
    """θ₋ = θ₀ + s · F⁻¹ · ∇L(query), with s found so that the query's loss rises by `rise`.

    fisher: of the layers that `parameters` chooses. With `steps` > 1 the gradient is taken anew after each,
    and each lifts the loss by its part of the rise. Of several examples it is their mean loss that rises.
    """

    fisher: EkfacFisher
    parameters: ParameterChoice = "cross-attn"
    damping: float = DAMPING
    steps: int = 1
    rise: float = RISE
    query_draws: Draws = _QUERY_DRAWS
    check_draws: Draws = _CHECK_DRAWS

    @contextmanager
    def forget(self, generator: Generator, query: Examples) -> Iterator[Forgotten]:
        layers = chosen_layers(generator.unet, self.parameters)
        before = float(denoising_losses(generator, query, self.check_draws).mean())
        change = _zeros(layers)
        passes = float(len(query) * len(self.check_draws))
        for step in range(1, self.steps + 1):
            goal = (1.0 + self.rise) ** (step / self.steps) * before
            added, trials = self._step(generator, query, change, goal)
            change = change + added
            passes += len(query) * (3 * len(self.query_draws) + trials * len(self.check_draws))
        with moved_layers(layers, change):
            yield Forgotten(
                before, float(denoising_losses(generator, query, self.check_draws).mean()), passes
            )

    def _step(self, generator: Generator, query: Examples, change: Tensor, goal: float) -> tuple[Tensor, int]:
        """From θ₀ + change to where the query's loss is `goal`: what is added, and the sizes tried."""
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

        here = loss_at(0.0)
        rise = goal / here - 1.0
        slope = float((direction * gradient).sum())
        return size_for_rise(loss_at, rise * here / slope, rise=rise) * direction, trials


def _zeros(layers: Mapping[str, torch.nn.Module]) -> Tensor:
    """No change of the layers' parameters, on their device: (P,)."""
    return torch.zeros(parameter_count(layers), device=moved_parameters(layers)[0].device)


def _mean_gradient(
    generator: Generator, examples: Examples, draws: Draws, layers: Mapping[str, torch.nn.Module]
) -> Tensor:
    """Of the examples' mean loss, a few examples' gradients in memory at a time: (P,)."""
    total = _zeros(layers)
    for start in range(0, len(examples), _GRADIENTS_AT_ONCE):
        part = examples.rows(range(start, min(start + _GRADIENTS_AT_ONCE, len(examples))))
        total += per_sample_gradients(generator, part, draws, layers).sum(dim=0)
    return total / len(examples)


@dataclass(frozen=True)
class BoundedDescentAscent:
    """Minimise L(random works) − ascent · min(L(query), L_null) until L(query) ≥ reach · L_null.

    null_loss: the query's loss that counts as not known, as an untrained model has it, in the mean squared
    error of what the UNet predicts; works: what is not to be forgotten; learning_rate: a tenth of training's.
    Raises InvalidInput when `most_steps` do not reach it. The defaults are MUCS's.
    """

    works: Examples
    learning_rate: float
    null_loss: float = 1.0
    parameters: ParameterChoice = "mlp-cond"
    ascent: float = 0.2
    reach: float = 0.95
    batch: int = 16
    query_batch: int = 16
    most_steps: int = 2_000

    @contextmanager
    def forget(self, generator: Generator, query: Examples) -> Iterator[Forgotten]:
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
        smoothed = None
        try:
            for parameter in parameters:
                parameter.requires_grad_(True)
            for step in range(self.most_steps):
                of_works, of_query = self._losses(generator, query, draw)
                optimiser.zero_grad()
                (of_works - self.ascent * of_query.clamp(max=self.null_loss)).backward()
                optimiser.step()
                reached = float(of_query.detach())
                smoothed = reached if smoothed is None else 0.8 * smoothed + 0.2 * reached
                if smoothed >= self.reach * self.null_loss:
                    return step + 1, smoothed
        finally:
            for parameter in parameters:
                parameter.requires_grad_(False)
                parameter.grad = None
        raise InvalidInput(
            f"query {query.ids[0]} is not forgotten after {self.most_steps} steps: its loss is {smoothed:.3f}"
            f" of {self.reach * self.null_loss:.3f}; check `null_loss`, or allow more steps",
            field="image",
        )

    def _losses(self, generator: Generator, query: Examples, draw: torch.Generator) -> tuple[Tensor, Tensor]:
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
        return errors[: self.batch].mean(), errors[self.batch :].mean()

    def _query_loss(self, generator: Generator, query: Examples) -> float:
        batch = noisy_batch(generator, query, _CHECK_DRAWS)
        with torch.no_grad():
            predicted = generator.unet(batch.inputs, batch.timesteps, batch.text).sample
        return float(batch.squared_errors(predicted).mean())
