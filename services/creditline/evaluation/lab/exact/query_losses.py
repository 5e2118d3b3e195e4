"""The losses of queries under given weights, differentiable, in the lab's relative unit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from creditline.evaluation.lab.exact.flat_unet import FlatUnet
from creditline.generator.losses import Draws, Examples
from creditline.generator.pipeline import Noising


@dataclass(frozen=True)
class QueryLosses:
    """The loss of each query as a function of the weights of the model."""

    model: FlatUnet
    """The UNet."""
    noising: Noising
    """The forward process."""
    examples: Examples
    """The queries, Q of them."""
    draws: Draws
    """Timesteps and noises; the noise depends on the query's id."""
    unit: Tensor
    """(timesteps,) weight of the loss at each timestep."""

    def of(self, parameters: Mapping[str, Tensor], row: int) -> Tensor:
        """The loss of one query: a scalar, differentiable.

        Args:
            parameters: Tensors by name, as `FlatUnet.split` gives them.
            row: Row of the query.
        """
        count, latents = len(self.draws), self.examples.latents[row]
        timesteps = self.draws.schedule(len(self.noising.signal))
        noise = self.draws.noise(self.examples.ids[row], tuple(latents.shape)).to(latents.dtype)
        clean = latents.expand(count, -1, -1, -1)
        text = self.examples.text[row].expand(count, -1, -1)
        predicted = self.model.predict(
            parameters, self.noising.noisy(clean, noise, timesteps), timesteps, text
        )
        errors = (predicted - self.noising.target(clean, noise, timesteps)).square().mean(dim=(1, 2, 3))
        in_unit = self.unit.repeat_interleave(self.draws.repeats).to(latents.dtype)
        return (errors * self.noising.noise_error(timesteps) * in_unit).mean()

    @torch.no_grad()
    def all(self, weights: Tensor) -> Tensor:
        """The losses of all queries: (Q,) float64.

        Args:
            weights: (P,) weights of the model.
        """
        parameters = self.model.split(weights)
        return torch.stack([self.of(parameters, row).double() for row in range(len(self.examples))])

    def gradient(self, weights: Tensor, row: int) -> Tensor:
        """Gradient of one query's loss with respect to the weights: (P,)."""
        leaf = weights.detach().requires_grad_()
        return torch.autograd.grad(self.of(self.model.split(leaf), row), leaf)[0]
