"""Refusals of gradients that a layer does not have, or that are not finite."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from creditline.errors import InvalidInput


def layer_output_gradients(
    total: Tensor, layers: Sequence[str], outputs: Mapping[str, Tensor]
) -> tuple[Tensor, ...]:
    """Gradients of a sum of losses with respect to the outputs of layers.

    Args:
        total: The sum, a scalar.
        layers: Names of the layers, in the order of the gradients.
        outputs: Outputs of the layers that ran in the forward pass, by name.

    Returns:
        One gradient per layer, of the shape of its output.

    Raises:
        InvalidInput: A layer did not run, or its output has no influence on the sum.
    """
    idle = [name for name in layers if name not in outputs]
    gradients: tuple[Tensor | None, ...] = ()
    if not idle:
        gradients = torch.autograd.grad(total, [outputs[name] for name in layers], allow_unused=True)
        idle = [name for name, gradient in zip(layers, gradients, strict=True) if gradient is None]
    if idle:
        raise InvalidInput(
            f"layer {idle[0]} has no gradient, because the UNet's output does not depend on it; choose"
            " parameters without it, such as 'attn'",
            field="parameters",
        )
    return tuple(gradient for gradient in gradients if gradient is not None)


def refuse_not_finite(gradients: Mapping[str, Tensor], ids: Sequence[str]) -> None:
    """Refuse gradients that are NaN or infinite.

    Args:
        gradients: Gradients by layer; the passes of one example are consecutive: (N · draws, ...) each.
        ids: Ids of the N examples.

    Raises:
        InvalidInput: A gradient is NaN or infinite; the message names the example and the layer.
    """
    not_finite = torch.stack([(~values.isfinite()).any() for values in gradients.values()])
    if not bool(not_finite.any()):
        return
    layer = list(gradients)[int(not_finite.int().argmax())]
    spoiled = (~gradients[layer].reshape(len(ids), -1).isfinite()).any(dim=1)
    raise InvalidInput(
        f"the gradient of {ids[int(spoiled.int().argmax())]!r} at layer {layer} is NaN or infinite; check"
        " that picture, and the generator's weights for NaN",
        field="gradient",
    )
