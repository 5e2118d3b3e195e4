"""The reference generator's VAE: architecture, training loss and reconstruction error."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn

from creditline.corpus.works import Corpus
from creditline.devices import device_of
from creditline.generator.reference import reference_corpus
from creditline.pictures.preparation import pixels

RESOLUTION = 64
_KL_WEIGHT = 3e-6
_MSE_WEIGHT = 0.5
_EDGE_WEIGHT = 0.5
_VAE_CONFIG: dict[str, Any] = {
    "in_channels": 3,
    "out_channels": 3,
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "block_out_channels": (16, 32, 64, 96),
    "layers_per_block": 1,
    "latent_channels": 16,
    "norm_num_groups": 8,
    "sample_size": RESOLUTION,
    "mid_block_add_attention": False,
}


def build_vae() -> AutoencoderKL:
    """The VAE of the reference generator with initial weights: pictures (3, 64, 64) to latents (16, 8, 8)."""
    return AutoencoderKL(**_VAE_CONFIG)


def picture_tensors(corpus: Corpus, *, side: int = RESOLUTION) -> Tensor:
    """All pictures of a corpus as one tensor.

    Args:
        corpus: The works.
        side: Height and width in pixels to which the pictures are scaled.

    Returns:
        (N, 3, side, side) float32 in [−1, 1].
    """
    stacked = np.stack([pixels(work.picture(), side=side) for work in corpus])
    return torch.from_numpy(stacked).permute(0, 3, 1, 2).contiguous() * 2.0 - 1.0


def edge_difference(prediction: Tensor, target: Tensor) -> Tensor:
    """Mean absolute error of the horizontal and vertical pixel differences, which keeps outlines sharp.

    Args:
        prediction: (B, 3, H, W) float32.
        target: (B, 3, H, W) float32.
    """
    error = prediction - target
    along_x = (error[..., :, 1:] - error[..., :, :-1]).abs().mean()
    along_y = (error[..., 1:, :] - error[..., :-1, :]).abs().mean()
    return along_x + along_y


@dataclass
class VaeTask:
    """Reconstruction of the reference corpus, with random horizontal flips (a `TrainingTask`)."""

    name: str = "vae"
    """Name of the task, used in file names."""
    precisions: tuple[str, ...] = ("float32",)
    """Names of the float types in which the forward pass may be computed."""
    pictures: Tensor = field(default_factory=lambda: torch.empty(0), repr=False)
    """(N, 3, 64, 64) float32 in [−1, 1]; empty until `open` is called."""

    def open(self) -> None:
        """Load the pictures."""
        self.pictures = picture_tensors(reference_corpus())

    def build(self) -> nn.Module:
        """The VAE with initial weights, as a module from pictures to reconstruction and KL divergence."""
        return _VaeForward(build_vae().to(memory_format=torch.channels_last))

    def loss(self, model: nn.Module, generator: torch.Generator, batch: int) -> Tensor:
        """Loss of `batch` random pictures: absolute, squared and edge error, and KL divergence."""
        rows = torch.randint(len(self.pictures), (batch,), generator=generator)
        flips = torch.rand(batch, generator=generator) < 0.5
        pictures = self.pictures[rows]
        pictures = torch.where(flips[:, None, None, None], pictures.flip(-1), pictures)
        pictures = pictures.to(device_of(model)).contiguous(memory_format=torch.channels_last)
        reconstruction, kl = model(pictures, generator)
        error = reconstruction - pictures
        return (
            error.abs().mean()
            + _MSE_WEIGHT * error.square().mean()
            + _EDGE_WEIGHT * edge_difference(reconstruction, pictures)
            + _KL_WEIGHT * kl
        )


class _VaeForward(nn.Module):
    """Encode, sample, decode: reconstruction, and KL divergence per picture (summed over the latent)."""

    def __init__(self, vae: AutoencoderKL) -> None:
        super().__init__()
        self.vae = vae

    def forward(self, pictures: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        posterior = self.vae.encode(pictures).latent_dist
        latent = posterior.sample(generator=generator)
        return self.vae.decode(latent).sample, posterior.kl().mean()


@torch.no_grad()
def reconstruction_psnr(vae: AutoencoderKL, pictures: Tensor, *, batch: int = 64) -> Tensor:
    """Peak signal-to-noise ratio of the reconstruction of each picture from its mean latent.

    Args:
        vae: The VAE.
        pictures: (N, 3, H, W) float32 in [−1, 1].
        batch: Pictures per forward pass.

    Returns:
        (N,) float32, in dB, for pixel values scaled to [0, 1].
    """
    ratios = []
    for part in pictures.split(batch):
        decoded = vae.decode(vae.encode(part).latent_dist.mean).sample.clamp(-1, 1)
        squared = ((decoded - part) / 2.0).square().mean(dim=(1, 2, 3))
        ratios.append(-10.0 * torch.log10(squared.clamp_min(1e-10)))
    return torch.cat(ratios)
