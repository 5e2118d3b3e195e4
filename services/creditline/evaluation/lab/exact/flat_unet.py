"""A UNet as a function of one flat vector of parameters, differentiable twice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor
from torch.func import functional_call

from creditline.generator.attention import AttentionProcessor


class ExplicitAttention(AttentionProcessor):
    """Attention written out as products and a softmax: PyTorch's fused kernel has no second derivative."""

    def mixed(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """The means by two products, each of which can be differentiated twice."""
        weights = torch.softmax(query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5, dim=-1)
        return weights @ value


@dataclass(frozen=True)
class FlatUnet:
    """A UNet without state of its own: its output is a function of inputs and parameters."""

    unet: UNet2DConditionModel
    """The module, whose own parameters are not used."""
    names: tuple[str, ...]
    """Names of the parameters, in the order of the flat vector."""

    @classmethod
    def of(cls, unet: UNet2DConditionModel) -> FlatUnet:
        """Take a UNet over; its attention becomes `ExplicitAttention`."""
        unet.set_attn_processor(ExplicitAttention())
        unet.requires_grad_(False)
        return cls(unet, tuple(name for name, _ in unet.named_parameters()))

    def initial(self) -> Tensor:
        """The module's own parameters as a flat vector: (P,)."""
        return torch.cat([parameter.detach().flatten() for parameter in self.unet.parameters()])

    def split(self, flat: Tensor) -> dict[str, Tensor]:
        """Views of a flat vector by parameter, each in the parameter's shape.

        Args:
            flat: (P,).
        """
        parameters = list(self.unet.parameters())
        parts = flat.split([parameter.numel() for parameter in parameters])
        return {
            name: part.view_as(parameter)
            for name, part, parameter in zip(self.names, parts, parameters, strict=True)
        }

    def joined(self, parts: Sequence[Tensor]) -> Tensor:
        """The flat vector (P,) of one tensor per parameter."""
        return torch.cat([part.flatten() for part in parts])

    def predict(
        self, parameters: Mapping[str, Tensor], inputs: Tensor, timesteps: Tensor, text: Tensor
    ) -> Tensor:
        """Output of the UNet with given parameters.

        Args:
            parameters: Tensors by name, as `split` gives them.
            inputs: (B, C, H, W), noisy latents.
            timesteps: (B,) int64.
            text: (B, L, D), text vectors.

        Returns:
            (B, C, H, W).
        """
        output: Tensor = functional_call(self.unet, dict(parameters), (inputs, timesteps, text)).sample
        return output
