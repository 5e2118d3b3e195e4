"""The lab's UNet, and its training on a subset of the lab's works."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import load_file
from torch import Tensor, nn

from creditline.generator.denoiser import EMPTY_PROMPT_FRACTION, build_unet, trainable, velocity_loss
from creditline.generator.pipeline import Noising


def build_lab_unet() -> UNet2DConditionModel:
    """The lab's UNet with initial weights: 1.6 million parameters, on the reference generator's latents."""
    return build_unet(channels=(48, 64), norm_groups=16)


@dataclass
class LabTask:
    """Velocity prediction on a subset of the lab's works (a `TrainingTask`)."""

    works_file: Path
    """Safetensors file of latents (N, C, H, W), text (N, L, D), empty (L, D), signal and noise (1000,)."""
    rows: tuple[int, ...]
    """Rows of the works to train on."""
    name: str = "unet"
    """Name of the task, used in file names."""
    precisions: tuple[str, ...] = ("float32",)
    """Names of the float types in which the forward pass may be computed."""
    _data: dict[str, Tensor] = field(default_factory=dict, repr=False)

    def open(self) -> None:
        """Load the works."""
        self._data = load_file(self.works_file)

    def build(self) -> nn.Module:
        """The UNet with initial weights, in training mode."""
        return trainable(build_lab_unet())

    def loss(self, model: nn.Module, generator: torch.Generator, batch: int) -> Tensor:
        """Velocity loss of `batch` random works, some of them with the empty prompt."""
        data = self._data
        rows = torch.tensor(self.rows)[torch.randint(len(self.rows), (batch,), generator=generator)]
        dropped = torch.rand(batch, generator=generator) < EMPTY_PROMPT_FRACTION
        latents = data["latents"][rows]
        text = torch.where(dropped[:, None, None], data["empty"], data["text"][rows])
        noising = Noising(data["signal"], data["noise"], "v_prediction")
        return velocity_loss(model, noising, latents, text, generator)
