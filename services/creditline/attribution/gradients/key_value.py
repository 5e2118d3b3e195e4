"""Per-sample gradients of the cross-attention's key and value projections, in factored form.

Keys and values see nothing but the text, so the gradient of one example's loss by such a weight is
Σ over tokens of (gradient at the output) ⊗ (text vector), and the text is the same at every timestep: one
backward pass to the projections' outputs gives exact per-sample gradients, without one copy per example.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from creditline.generator.losses import (
    Draws,
    Examples,
    NoisyBatch,
    batch_losses,
    examples_per_batch,
    noisy_batch,
    passes_per_batch,
)
from creditline.generator.pipeline import Generator


def key_value_projections(unet: nn.Module) -> dict[str, nn.Linear]:
    """The cross-attention's `to_k` and `to_v` by name, in the UNet's order (AbU's `cross-attn` choice)."""
    return {
        name: module
        for name, module in unet.named_modules()
        if isinstance(module, nn.Linear) and name.endswith(("attn2.to_k", "attn2.to_v"))
    }


def output_widths(projections: dict[str, nn.Linear]) -> list[int]:
    """How many of the D outputs side by side are each projection's, in order."""
    return [module.out_features for module in projections.values()]


@dataclass(frozen=True)
class GradientFactors:
    """Gradients of N examples: that of example i is outputs[i].T @ text[i], shape (D, E).

    outputs: (N, L, D) float32, gradients at all projections' outputs side by side, averaged over draws;
    text: (N, L, E) float32; losses: (N, draws) float32, which the same forward passes gave.
    """

    outputs: Tensor
    text: Tensor
    losses: Tensor

    def dense(self) -> Tensor:
        """The gradients written out: (N, D, E) float32."""
        return self.outputs.transpose(1, 2) @ self.text


@contextmanager
def recorded_outputs(projections: dict[str, nn.Linear]) -> Iterator[dict[nn.Module, Tensor]]:
    """While open, each projection's output is a leaf that takes a gradient, and is recorded."""
    recorded: dict[nn.Module, Tensor] = {}

    def record(module: nn.Module, inputs: Any, output: Tensor) -> Tensor:
        recorded[module] = output.detach().requires_grad_()
        return recorded[module]

    hooks = [module.register_forward_hook(record) for module in projections.values()]
    try:
        yield recorded
    finally:
        for hook in hooks:
            hook.remove()


def gradient_factors(generator: Generator, examples: Examples, draws: Draws) -> GradientFactors:
    """The gradient of each example's loss, averaged over its draws."""
    step, passes = examples_per_batch(draws), passes_per_batch(generator.unet)
    outputs, losses = [], []
    for start in range(0, len(examples), step):
        part = examples.rows(range(start, min(start + step, len(examples))))
        batch = noisy_batch(generator, part, draws)
        gradients, errors = zip(
            *(_pass_gradients(generator, few) for few in batch.split(passes)), strict=True
        )
        by_draw = torch.cat(gradients)
        outputs.append(by_draw.view(len(part), len(draws), *by_draw.shape[1:]).mean(dim=1))
        losses.append(torch.cat(errors).view(len(part), len(draws)))
    return GradientFactors(torch.cat(outputs), examples.text, torch.cat(losses))


def _pass_gradients(generator: Generator, batch: NoisyBatch) -> tuple[Tensor, Tensor]:
    """Gradients at all projections' outputs, (B, L, D) side by side, and losses (B,) of some passes."""
    projections = key_value_projections(generator.unet)
    with recorded_outputs(projections) as recorded, torch.enable_grad():
        losses = batch_losses(generator, batch)
        # The UNet calls its blocks in another order than it lists them.
        leaves = [recorded[module] for module in projections.values()]
        gradients = torch.autograd.grad(losses.sum(), leaves)
    return torch.cat(gradients, dim=-1), losses.detach()


@contextmanager
def moved_weights(projections: dict[str, nn.Linear], change: Tensor) -> Iterator[None]:
    """While open, `change` (D, E) is added to the weights; afterwards they are exactly as before."""
    before = [module.weight.detach().clone() for module in projections.values()]
    widths = output_widths(projections)
    try:
        with torch.no_grad():
            for module, part in zip(projections.values(), change.split(widths), strict=True):
                module.weight.add_(part)
        yield
    finally:
        with torch.no_grad():
            for module, weight in zip(projections.values(), before, strict=True):
                module.weight.copy_(weight)
