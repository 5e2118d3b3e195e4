"""Per-sample gradients of the cross-attention's key and value projections, in factored form.

The inputs of these projections are the text embeddings alone, so the gradient of one example's loss with
respect to such a weight is Σ over tokens of (gradient at the output) ⊗ (text vector). The text is the same at
every timestep: one backward pass to the projections' outputs gives exact per-sample gradients, without a copy
of the weights per example.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from creditline.attribution.gradients.checks import layer_output_gradients, refuse_not_finite
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
    """The cross-attention's `to_k` and `to_v` layers by name, in the UNet's order (AbU's `cross-attn`)."""
    return {
        name: module
        for name, module in unet.named_modules()
        if isinstance(module, nn.Linear) and name.endswith(("attn2.to_k", "attn2.to_v"))
    }


def output_widths(projections: dict[str, nn.Linear]) -> list[int]:
    """Number of outputs of each projection, in order; their sum is D."""
    return [module.out_features for module in projections.values()]


@dataclass(frozen=True)
class GradientFactors:
    """Gradients of N examples in factored form: that of example i is outputs[i].T @ text[i], shape (D, E)."""

    outputs: Tensor
    """Gradients at all projections' outputs, concatenated and averaged over draws: (N, L, D) float32."""
    text: Tensor
    """Text embeddings: (N, L, E) float32."""
    losses: Tensor
    """Losses from the same forward passes: (N, draws) float32."""

    def dense(self) -> Tensor:
        """The product of the factors: (N, D, E) float32."""
        return self.outputs.transpose(1, 2) @ self.text


@contextmanager
def recorded_outputs(projections: dict[str, nn.Linear]) -> Iterator[dict[nn.Module, Tensor]]:
    """Context in which each projection's output is a leaf tensor that requires a gradient.

    Yields:
        The outputs of the latest forward pass, by module.
    """
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
    """Gradient factors of each example's loss, averaged over its draws.

    Args:
        generator: The generator.
        examples: The examples, N of them.
        draws: Timesteps and noises of the loss.

    Returns:
        Gradients and losses, on the generator's device.

    Raises:
        InvalidInput: A gradient is NaN or infinite.
    """
    projections = key_value_projections(generator.unet)
    step, passes = examples_per_batch(draws), passes_per_batch(generator.unet)
    outputs, losses = [], []
    for start in range(0, len(examples), step):
        part = examples.rows(range(start, min(start + step, len(examples))))
        batch = noisy_batch(generator, part, draws)
        gradients, errors = zip(
            *(_pass_gradients(generator, projections, chunk) for chunk in batch.split(passes)), strict=True
        )
        by_draw = torch.cat(gradients)
        names, widths = list(projections), output_widths(projections)
        refuse_not_finite(dict(zip(names, by_draw.split(widths, dim=-1), strict=True)), part.ids)
        outputs.append(by_draw.view(len(part), len(draws), *by_draw.shape[1:]).mean(dim=1))
        losses.append(torch.cat(errors).view(len(part), len(draws)))
    return GradientFactors(torch.cat(outputs), examples.text, torch.cat(losses))


def _pass_gradients(
    generator: Generator, projections: dict[str, nn.Linear], batch: NoisyBatch
) -> tuple[Tensor, Tensor]:
    """Gradients at the outputs of all projections, concatenated (B, L, D), and losses (B,) of a batch."""
    with recorded_outputs(projections) as recorded, torch.enable_grad():
        losses = batch_losses(generator, batch)
        # The UNet runs its blocks in another order than `named_modules` lists them.
        leaves = {name: recorded[module] for name, module in projections.items() if module in recorded}
        gradients = layer_output_gradients(losses.sum(), list(projections), leaves)
    return torch.cat(gradients, dim=-1), losses.detach()


@contextmanager
def moved_weights(projections: dict[str, nn.Linear], change: Tensor) -> Iterator[None]:
    """Context in which `change` is added to the projections' weights, which are restored exactly afterwards.

    Args:
        projections: The projections, as `key_value_projections` returns them.
        change: (D, E) float32.
    """
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
