"""Choices of the weights that a method differentiates or changes: those of AbU's code, and that of MUCS."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

from torch import nn

from creditline.errors import InvalidInput

ParameterChoice = Literal["cross-attn", "attn", "mlp-cond", "all"]

_KEY_VALUE = ("attn2.to_k", "attn2.to_v")
_ATTENTION = tuple(
    f"{block}.{part}" for block in ("attn1", "attn2") for part in ("to_q", "to_k", "to_v", "to_out.0")
)
_CONDITIONING = ("time_embedding", "time_emb_proj", *_KEY_VALUE)

_CHOICES: dict[str, Callable[[str], bool]] = {
    # Keys and values of the cross-attention: AbU.
    "cross-attn": lambda name: name.endswith(_KEY_VALUE),
    # All projections of both attentions.
    "attn": lambda name: name.endswith(_ATTENTION),
    # MLPs of the transformer blocks, and all layers that inject the prompt or the timestep: MUCS.
    "mlp-cond": lambda name: ".ff.net." in name or any(part in name for part in _CONDITIONING),
    "all": lambda name: True,
}


def chosen_layers(unet: nn.Module, choice: ParameterChoice) -> dict[str, nn.Module]:
    """The chosen layers that have parameters of their own, by name, in the UNet's order.

    Args:
        unet: The UNet.
        choice: Name of the choice.

    Raises:
        InvalidInput: The choice is unknown, or the UNet has no such layers.
    """
    if choice not in _CHOICES:
        raise InvalidInput(
            f"unknown choice of parameters {choice!r}; choose one of {', '.join(get_args(ParameterChoice))}",
            field="parameters",
        )
    layers = {
        name: module
        for name, module in unet.named_modules()
        if any(True for _ in module.parameters(recurse=False)) and _CHOICES[choice](name)
    }
    if not layers:
        raise InvalidInput(
            f"the UNet has no layers of the choice {choice!r}; choose 'all'", field="parameters"
        )
    return layers
