"""The lab's UNet and its training on some of the lab's works."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import load_file
from torch import Tensor, nn

from creditline.generator.denoiser import FullPrecisionAttention, spread_timesteps
from creditline.generator.pipeline import Noising

_EMPTY_PROMPT_FRACTION = 0.10
_UNET_CONFIG: dict[str, Any] = {
    "sample_size": 8,
    "in_channels": 16,
    "out_channels": 16,
    "down_block_types": ("CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
    "block_out_channels": (48, 64),
    "layers_per_block": 1,
    "cross_attention_dim": 384,
    "attention_head_dim": 8,
    "norm_num_groups": 16,
}


def build_lab_unet() -> UNet2DConditionModel:
    """The lab's UNet, freshly initialised: 1.6 M parameters on the reference generator's latents."""
    return UNet2DConditionModel(**_UNET_CONFIG)


@dataclass
class LabTask:
    """Velocity prediction on the named rows of the lab's works (a `TrainingTask`).

    works_file: safetensors of latents (N, C, H, W), text (N, L, D), empty (L, D), signal and noise (1000,).
    """

    works_file: Path
    rows: tuple[int, ...]
    name: str = "unet"
    precisions: tuple[str, ...] = ("float32",)
    _data: dict[str, Tensor] = field(default_factory=dict, repr=False)

    def open(self) -> None:
        self._data = load_file(self.works_file)

    def build(self) -> nn.Module:
        unet = build_lab_unet()
        unet.set_attn_processor(FullPrecisionAttention())
        trainable: nn.Module = unet.train()
        return trainable

    def loss(self, model: nn.Module, generator: torch.Generator, batch: int) -> Tensor:
        data = self._data
        rows = torch.tensor(self.rows)[torch.randint(len(self.rows), (batch,), generator=generator)]
        dropped = torch.rand(batch, generator=generator) < _EMPTY_PROMPT_FRACTION
        latents = data["latents"][rows]
        text = torch.where(dropped[:, None, None], data["empty"], data["text"][rows])
        timesteps = spread_timesteps(len(data["signal"]), batch, generator)
        noise = torch.randn(latents.shape, generator=generator)
        noising = Noising(data["signal"], data["noise"], "v_prediction")
        predicted = model(noising.noisy(latents, noise, timesteps), timesteps, text).sample
        return (predicted - noising.target(latents, noise, timesteps)).square().mean()
