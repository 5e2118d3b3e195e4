"""Per-sample gradients of any of the UNet's layers, many examples in one backward pass.

A layer's gradient for one example is a product of what went in and the gradient at what came out, summed
over places and draws; both are recorded for the whole batch, and one batched matrix product per layer gives
all examples' gradients, with no copy of the model per example (`torch.func` is the oracle in the tests).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from creditline.attribution.gradients.targets import GradientTarget, noise_loss
from creditline.errors import InvalidInput
from creditline.generator.losses import Draws, Examples, NoisyBatch, examples_per_batch, noisy_batch
from creditline.generator.pipeline import Generator

# How many examples a batch holds; by layer, what went in and the gradient at what came out.
RecordedPasses = tuple[int, dict[str, tuple[Tensor, Tensor]]]


@dataclass(frozen=True)
class Recorded:
    """One layer in one forward pass: its input and its output, a leaf of the graph."""

    inputs: Tensor
    outputs: Tensor


def parameter_count(layers: Mapping[str, nn.Module]) -> int:
    """P: numbers in one example's gradient."""
    return sum(parameter.numel() for module in layers.values() for parameter in module.parameters(False))


def moved_parameters(layers: Mapping[str, nn.Module]) -> list[nn.Parameter]:
    """All parameters in the order of a gradient's numbers: layer by layer, weight before bias."""
    return [parameter for module in layers.values() for parameter in module.parameters(False)]


@contextmanager
def recorded_layers(layers: Mapping[str, nn.Module]) -> Iterator[dict[str, Recorded]]:
    """While open, every forward pass leaves each layer's input and output in the yielded dictionary.

    Outputs are cut off from the layers' own parameters, which so need no gradient themselves.
    """
    recorded: dict[str, Recorded] = {}

    def record(name: str) -> Any:
        def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
            if name in recorded:
                raise InvalidInput(
                    f"layer {name} is used twice in one pass; leave it out", field="parameters"
                )
            # A zero that requires a gradient keeps the graph to earlier layers.
            output = output + torch.zeros_like(output, requires_grad=True)
            recorded[name] = Recorded(inputs[0].detach(), output)
            return output

        return hook

    hooks = [module.register_forward_hook(record(name)) for name, module in layers.items()]
    try:
        yield recorded
    finally:
        for handle in hooks:
            handle.remove()


def layer_gradients(module: nn.Module, inputs: Tensor, at_output: Tensor, groups: int) -> Tensor:
    """The layer's gradient summed within each of `groups` equal runs of the batch: (groups, P_layer).

    inputs, at_output: what went in and the gradient at what came out, batch first.
    Raises InvalidInput for a kind of layer that is not known here.
    """
    inward, outward = gradient_factors_of(module, inputs, at_output, groups)
    if isinstance(module, nn.Linear | nn.Conv2d):
        weight = outward.transpose(1, 2) @ inward
    else:
        weight = (outward * inward).sum(dim=1)
    parts = [weight.flatten(1)]
    if module.bias is not None:
        parts.append(outward.sum(dim=1))
    return torch.cat(parts, dim=1)


def gradient_factors_of(
    module: nn.Module, inputs: Tensor, at_output: Tensor, groups: int
) -> tuple[Tensor, Tensor]:
    """The two factors, place by place: (groups, places, in) and (groups, places, out)."""
    if isinstance(module, nn.Linear):
        inward, outward = inputs, at_output
    elif isinstance(module, nn.Conv2d):
        if module.groups != 1:
            raise InvalidInput("grouped convolutions have no per-sample gradients here; leave that layer out")
        inward, outward = _unfolded(module, inputs), at_output.flatten(2).transpose(1, 2)
    elif isinstance(module, nn.GroupNorm):
        whitened = functional.group_norm(inputs, module.num_groups, eps=module.eps)
        inward, outward = whitened.flatten(2).transpose(1, 2), at_output.flatten(2).transpose(1, 2)
    elif isinstance(module, nn.LayerNorm):
        inward = functional.layer_norm(inputs, module.normalized_shape, eps=module.eps)
        outward = at_output
    else:
        raise InvalidInput(
            f"layers of kind {type(module).__name__} have no per-sample gradients here; choose attn"
        )
    return (
        inward.reshape(groups, -1, inward.shape[-1]),
        outward.reshape(groups, -1, outward.shape[-1]),
    )


def _unfolded(module: nn.Conv2d, inputs: Tensor) -> Tensor:
    """Every place's receptive field: (B, places, in · kernel)."""
    if isinstance(module.padding, str) or module.padding_mode != "zeros":
        raise InvalidInput("convolutions with padding other than zeros have no per-sample gradients here")
    patches = functional.unfold(inputs, module.kernel_size, module.dilation, module.padding, module.stride)
    return patches.transpose(1, 2)


def output_gradients(
    generator: Generator,
    batch: NoisyBatch,
    layers: Mapping[str, nn.Module],
    measure: GradientTarget,
    weights: Tensor | None = None,
) -> dict[str, tuple[Tensor, Tensor]]:
    """Each layer's input and the gradient at its output.

    weights: what each pass counts, (B,); 1 where it is not given.
    """
    with recorded_layers(layers) as recorded, torch.enable_grad():
        predicted = generator.unet(batch.inputs, batch.timesteps, batch.text).sample
        passes = measure(batch, predicted)
        total = passes.sum() if weights is None else (weights * passes).sum()
        gradients = torch.autograd.grad(total, [recorded[name].outputs for name in layers])
    return {name: (recorded[name].inputs, gradient) for name, gradient in zip(layers, gradients, strict=True)}


def recorded_passes(
    generator: Generator,
    examples: Examples,
    draws: Draws,
    layers: Mapping[str, nn.Module],
    measure: GradientTarget,
    draw_weights: Tensor | None,
) -> Iterator[RecordedPasses]:
    """One walk over the examples, batch by batch.

    draw_weights: (draws,), what each draw counts; 1 where they are not given.
    """
    step = examples_per_batch(draws)
    for start in range(0, len(examples), step):
        part = examples.rows(range(start, min(start + step, len(examples))))
        weights = None
        if draw_weights is not None:
            weights = draw_weights.to(part.latents.device).repeat(len(part))
        batch = noisy_batch(generator, part, draws)
        yield len(part), output_gradients(generator, batch, layers, measure, weights)


def per_sample_gradients(
    generator: Generator,
    examples: Examples,
    draws: Draws,
    layers: Mapping[str, nn.Module],
    *,
    measure: GradientTarget = noise_loss,
    draw_weights: Tensor | None = None,
    by_timestep: bool = False,
) -> Tensor:
    """Each example's gradient of its measure, averaged over its draws: (N, P) float32.

    draw_weights: (draws,), what each draw counts beside the others (their sum is the number of draws).
    by_timestep: one gradient for each timestep, averaged over its repeats: (N, timesteps, P).
    """
    parts = []
    for count, recorded in recorded_passes(generator, examples, draws, layers, measure, draw_weights):
        groups = count * (draws.timesteps if by_timestep else 1)
        rows = torch.cat(
            [layer_gradients(layers[name], *factors, groups) for name, factors in recorded.items()], dim=1
        )
        rows /= draws.repeats if by_timestep else len(draws)
        parts.append(rows.view(count, draws.timesteps, -1) if by_timestep else rows)
    return torch.cat(parts)


@contextmanager
def moved_layers(layers: Mapping[str, nn.Module], change: Tensor) -> Iterator[None]:
    """While open, `change` (P,) is added to the layers' parameters; afterwards they are exactly as before."""
    parameters = moved_parameters(layers)
    before = [parameter.detach().clone() for parameter in parameters]
    try:
        with torch.no_grad():
            sizes = [parameter.numel() for parameter in parameters]
            for parameter, part in zip(parameters, change.split(sizes), strict=True):
                parameter.add_(part.view_as(parameter))
        yield
    finally:
        with torch.no_grad():
            for parameter, values in zip(parameters, before, strict=True):
                parameter.copy_(values)
