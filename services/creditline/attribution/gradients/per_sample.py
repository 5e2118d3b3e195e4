"""Per-sample gradients of any of the UNet's layers, for many examples in one backward pass.

A layer's gradient for one example is the product of the layer's input and the gradient at its output, summed
over positions and draws. Both are recorded for the whole batch, and one batched matrix product per layer
gives the gradients of all examples, without a copy of the model per example (`torch.func` is the oracle in
the tests).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from creditline.attribution.gradients.checks import layer_output_gradients, refuse_not_finite
from creditline.attribution.gradients.targets import GradientTarget, noise_loss
from creditline.errors import InvalidInput
from creditline.generator.losses import Draws, Examples, NoisyBatch, examples_per_batch, noisy_batch
from creditline.generator.pipeline import Generator

# Number of examples in a batch; by layer, its input and the gradient at its output.
RecordedPasses = tuple[int, dict[str, tuple[Tensor, Tensor]]]


@dataclass(frozen=True)
class Recorded:
    """Input and output of one layer in one forward pass."""

    inputs: Tensor
    """The input, detached, batch first."""
    outputs: Tensor
    """The output, batch first, with a graph to the outputs of earlier layers."""


def parameter_count(layers: Mapping[str, nn.Module]) -> int:
    """Number of parameters of the layers: P, the dimension of one example's gradient."""
    return sum(parameter.numel() for module in layers.values() for parameter in module.parameters(False))


def moved_parameters(layers: Mapping[str, nn.Module]) -> list[nn.Parameter]:
    """Parameters of the layers in the order of a gradient's components: by layer, weight before bias."""
    return [parameter for module in layers.values() for parameter in module.parameters(False)]


@contextmanager
def recorded_layers(layers: Mapping[str, nn.Module]) -> Iterator[dict[str, Recorded]]:
    """Context in which a forward pass records the input and the output of each layer.

    The parameters themselves need no gradient.

    Args:
        layers: The layers by name.

    Yields:
        The recorded layers by name, empty before the forward pass.

    Raises:
        InvalidInput: A layer runs twice in one forward pass.
    """
    recorded: dict[str, Recorded] = {}

    def record(name: str) -> Any:
        def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
            if name in recorded:
                raise InvalidInput(
                    f"layer {name} runs twice in one forward pass, which per-sample gradients do not support;"
                    " choose parameters without it",
                    field="parameters",
                )
            if not output.requires_grad:
                # The first layer of the graph: no earlier layer and no parameter requires a gradient.
                output.requires_grad_()
            recorded[name] = Recorded(inputs[0].detach(), output)
            return output

        return hook

    hooks = [module.register_forward_hook(record(name)) for name, module in layers.items()]
    try:
        yield recorded
    finally:
        for handle in hooks:
            handle.remove()


def layer_gradients(module: nn.Module, inputs: Tensor, output_gradient: Tensor, groups: int) -> Tensor:
    """Gradient of one layer, summed within each of several equal, consecutive groups of the batch.

    Args:
        module: A Linear, Conv2d, GroupNorm or LayerNorm layer.
        inputs: The layer's input, batch first.
        output_gradient: The gradient at the layer's output, batch first.
        groups: Number of groups that the batch is divided into.

    Returns:
        Gradients, weight before bias: (groups, P_layer).

    Raises:
        InvalidInput: Per-sample gradients do not support this kind of layer.
    """
    input_factor, output_factor = gradient_factors_of(module, inputs, output_gradient, groups)
    if isinstance(module, nn.Linear | nn.Conv2d):
        weight = output_factor.transpose(1, 2) @ input_factor
    else:
        weight = (output_factor * input_factor).sum(dim=1)
    parts = [weight.flatten(1)]
    if module.bias is not None:
        parts.append(output_factor.sum(dim=1))
    return torch.cat(parts, dim=1)


def gradient_factors_of(
    module: nn.Module, inputs: Tensor, output_gradient: Tensor, groups: int
) -> tuple[Tensor, Tensor]:
    """The two factors of a layer's gradient at every position.

    Args:
        module: A Linear, Conv2d, GroupNorm or LayerNorm layer.
        inputs: The layer's input, batch first.
        output_gradient: The gradient at the layer's output, batch first.
        groups: Number of groups that the batch is divided into.

    Returns:
        The input factor (groups, positions, in) and the output factor (groups, positions, out). For norms
        both have one column per channel.

    Raises:
        InvalidInput: Per-sample gradients do not support this kind of layer.
    """
    if isinstance(module, nn.Linear):
        input_factor, output_factor = inputs, output_gradient
    elif isinstance(module, nn.Conv2d):
        if module.groups != 1:
            raise InvalidInput(
                f"per-sample gradients do not support convolutions with {module.groups} groups;"
                " choose parameters without them, such as 'attn'"
            )
        input_factor, output_factor = _unfolded(module, inputs), output_gradient.flatten(2).transpose(1, 2)
    elif isinstance(module, nn.GroupNorm):
        normalised = functional.group_norm(inputs, module.num_groups, eps=module.eps)
        input_factor = normalised.flatten(2).transpose(1, 2)
        output_factor = output_gradient.flatten(2).transpose(1, 2)
    elif isinstance(module, nn.LayerNorm):
        input_factor = functional.layer_norm(inputs, module.normalized_shape, eps=module.eps)
        output_factor = output_gradient
    else:
        raise InvalidInput(
            f"per-sample gradients do not support layers of type {type(module).__name__};"
            " choose parameters without them, such as 'attn'"
        )
    return (
        input_factor.reshape(groups, -1, input_factor.shape[-1]),
        output_factor.reshape(groups, -1, output_factor.shape[-1]),
    )


def _unfolded(module: nn.Conv2d, inputs: Tensor) -> Tensor:
    """Receptive field of every position: (B, positions, in · kernel)."""
    if isinstance(module.padding, str) or module.padding_mode != "zeros":
        raise InvalidInput(
            f"per-sample gradients do not support convolutions with padding {module.padding!r} of mode"
            f" {module.padding_mode!r}; choose parameters without them, such as 'attn'"
        )
    patches = functional.unfold(inputs, module.kernel_size, module.dilation, module.padding, module.stride)
    return patches.transpose(1, 2)


def output_gradients(
    generator: Generator,
    batch: NoisyBatch,
    layers: Mapping[str, nn.Module],
    measure: GradientTarget,
    weights: Tensor | None = None,
) -> dict[str, tuple[Tensor, Tensor]]:
    """Input of each layer and the gradient at its output, from one forward and one backward pass.

    Args:
        generator: The generator.
        batch: The noisy batch, B passes.
        layers: The layers by name.
        measure: Function of each pass whose gradient is taken.
        weights: (B,) weight of each pass in the sum; None: 1 for all.

    Returns:
        (input, gradient at the output) of each layer, by name.

    Raises:
        InvalidInput: The UNet's output does not depend on a layer, or a layer runs twice.
    """
    with recorded_layers(layers) as recorded, torch.enable_grad():
        predicted = generator.unet(batch.inputs, batch.timesteps, batch.text).sample
        passes = measure(batch, predicted)
        total = passes.sum() if weights is None else (weights * passes).sum()
        outputs = {name: layer.outputs for name, layer in recorded.items()}
        gradients = layer_output_gradients(total, list(layers), outputs)
    return {name: (recorded[name].inputs, gradient) for name, gradient in zip(layers, gradients, strict=True)}


def recorded_passes(
    generator: Generator,
    examples: Examples,
    draws: Draws,
    layers: Mapping[str, nn.Module],
    measure: GradientTarget,
    draw_weights: Tensor | None,
) -> Iterator[RecordedPasses]:
    """Inputs and output gradients of all layers for all examples, batch by batch.

    Args:
        generator: The generator.
        examples: The examples.
        draws: Timesteps and noises of each example.
        layers: The layers by name.
        measure: Function of each pass whose gradient is taken.
        draw_weights: (draws,) weight of each draw; None: 1 for all.

    Yields:
        The number of examples in a batch, and (input, output gradient) by layer.

    Raises:
        InvalidInput: A gradient is NaN or infinite, or a layer has none.
    """
    step = examples_per_batch(draws)
    for start in range(0, len(examples), step):
        part = examples.rows(range(start, min(start + step, len(examples))))
        weights = None
        if draw_weights is not None:
            weights = draw_weights.to(part.latents.device).repeat(len(part))
        batch = noisy_batch(generator, part, draws)
        recorded = output_gradients(generator, batch, layers, measure, weights)
        refuse_not_finite({name: gradient for name, (_, gradient) in recorded.items()}, part.ids)
        yield len(part), recorded


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
    """Gradient of a measure for each example, averaged over its draws.

    Args:
        generator: The generator.
        examples: The examples, N of them.
        draws: Timesteps and noises of each example.
        layers: The layers by name, with P parameters together.
        measure: Function of each pass whose gradient is taken.
        draw_weights: (draws,) weight of each draw, with mean 1; None: 1 for all.
        by_timestep: Whether to return one gradient per timestep, averaged over its repeats.

    Returns:
        Gradients: (N, P) float32, or (N, timesteps, P) with `by_timestep`.

    Raises:
        InvalidInput: A layer is of a kind that is not supported, runs twice in one forward pass or has no
            gradient, or a gradient is NaN or infinite.
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
    """Context in which `change` is added to the layers' parameters, which are restored exactly afterwards.

    Args:
        layers: The layers by name.
        change: (P,) float32, in the order of `moved_parameters`.
    """
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
