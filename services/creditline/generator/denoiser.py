"""The reference generator's UNet: architecture, and training on the latents of the corpus."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import torch
from diffusers import UNet2DConditionModel
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor, nn

from creditline.devices import device_of
from creditline.generator.attention import AttentionProcessor
from creditline.generator.pipeline import Generator, Noising
from creditline.generator.reference import reference_corpus

EMPTY_PROMPT_FRACTION = 0.10
_TITLE_FRACTION = 0.20


def build_unet(*, channels: tuple[int, int] = (128, 160), norm_groups: int = 32) -> UNet2DConditionModel:
    """A UNet with initial weights, on the latents and text vectors of the reference generator.

    Args:
        channels: Channels of the two levels; by default those of the reference generator.
        norm_groups: Groups of the group normalisation.
    """
    return UNet2DConditionModel(
        sample_size=8,
        in_channels=16,
        out_channels=16,
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        block_out_channels=channels,
        layers_per_block=1,
        cross_attention_dim=384,
        attention_head_dim=8,
        norm_num_groups=norm_groups,
    )


class FullPrecisionAttention(AttentionProcessor):
    """Attention that is computed in float32 even under autocast.

    On CPUs, the backward pass of PyTorch's attention takes ten times as long in bfloat16.
    """

    def mixed(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """The fused attention of PyTorch, in float32."""
        with _no_autocast(query.device.type):
            return nn.functional.scaled_dot_product_attention(query.float(), key.float(), value.float())


def _no_autocast(device_type: str) -> AbstractContextManager[object]:
    """A context with autocast turned off, on device types that support autocast."""
    if torch.amp.is_autocast_available(device_type):
        return torch.autocast(device_type, enabled=False)
    return nullcontext()


@dataclass(frozen=True)
class LatentSet:
    """Training data of the UNet."""

    latents: Tensor
    """(2, N, C, H, W) float32, latents of the pictures and of the flipped pictures."""
    captions: Tensor
    """(N, L, D) float32, text vectors of the captions."""
    titles: Tensor
    """(N, L, D) float32, text vectors of the titles."""
    empty: Tensor
    """(L, D) float32, text vectors of the empty prompt."""
    signal: Tensor
    """(1000,) float32, signal coefficient at each timestep."""
    noise: Tensor
    """(1000,) float32, noise coefficient at each timestep."""


def encode_reference(generator: Generator) -> LatentSet:
    """Encode the reference corpus with the pipeline itself, as the inputs of the UNet are encoded in use."""
    corpus = reference_corpus()
    pictures = [work.picture() for work in corpus]
    flipped = [picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT) for picture in pictures]
    return LatentSet(
        latents=torch.stack([generator.latents(pictures), generator.latents(flipped)]),
        captions=generator.prompt_vectors([work.caption for work in corpus]),
        titles=generator.prompt_vectors([work.title for work in corpus]),
        empty=generator.prompt_vectors([""])[0],
        signal=generator.noising.signal,
        noise=generator.noising.noise,
    )


@dataclass
class UnetTask:
    """Velocity prediction on the latents of the reference corpus (a `TrainingTask`)."""

    latent_file: Path
    """Safetensors file of a `LatentSet`."""
    start: Path | None = None
    """Directory of a UNet whose training is continued; None: train from initial weights."""
    name: str = "unet"
    """Name of the task, used in file names."""
    precisions: tuple[str, ...] = ("float32", "bfloat16")
    """Names of the float types in which the forward pass may be computed."""
    _data: LatentSet | None = field(default=None, repr=False)

    def open(self) -> None:
        """Load the latents and text vectors."""
        self._data = LatentSet(**load_file(self.latent_file))

    def build(self) -> nn.Module:
        """The UNet to train, in training mode."""
        unet = (
            build_unet()
            if self.start is None
            else UNet2DConditionModel.from_pretrained(
                self.start, torch_dtype=torch.float32, low_cpu_mem_usage=False
            )
        )
        return trainable(unet)

    def loss(self, model: nn.Module, generator: torch.Generator, batch: int) -> Tensor:
        """Velocity loss of `batch` random works, flipped at random, with a caption, a title or no prompt."""
        assert self._data is not None, "open() must be called first"
        data = self._data
        rows = torch.randint(data.latents.shape[1], (batch,), generator=generator)
        flips = torch.randint(2, (batch,), generator=generator)
        latents = data.latents[flips, rows]
        text = _draw_text(data, rows, generator)
        return velocity_loss(
            model, Noising(data.signal, data.noise, "v_prediction"), latents, text, generator
        )


def trainable(unet: UNet2DConditionModel) -> nn.Module:
    """The UNet in training mode, with `FullPrecisionAttention`, which is fast in every precision."""
    unet.set_attn_processor(FullPrecisionAttention())
    module: nn.Module = unet.train()
    return module


def velocity_loss(
    model: nn.Module, noising: Noising, latents: Tensor, text: Tensor, generator: torch.Generator
) -> Tensor:
    """Mean squared error of the predicted velocity, at random timesteps and noise.

    Args:
        model: The UNet.
        noising: The forward process.
        latents: (B, C, H, W) float32, on any device.
        text: (B, L, D) float32, on any device.
        generator: Random generator of the CPU, so that the draws are the same for every device of the model.

    Returns:
        A scalar on the model's device.
    """
    device = device_of(model)
    noising, latents, text = noising.to(device), latents.to(device), text.to(device)
    timesteps = spread_timesteps(len(noising.signal), len(latents), generator).to(device)
    noise = torch.randn(latents.shape, generator=generator).to(device)
    predicted = model(noising.noisy(latents, noise, timesteps), timesteps, text).sample
    return (predicted.float() - noising.target(latents, noise, timesteps)).square().mean()


def spread_timesteps(count: int, batch: int, generator: torch.Generator) -> Tensor:
    """Stratified random timesteps, one from each of `batch` equal parts of the schedule.

    A timestep is uniform over the schedule; the mean loss of a batch varies less than with independent draws.

    Args:
        count: Length of the schedule.
        batch: Number of timesteps B.
        generator: Random generator of the CPU.

    Returns:
        (B,) int64, in increasing order.
    """
    places = (torch.arange(batch) + torch.rand(batch, generator=generator)) / batch
    return (places * count).long().clamp_max(count - 1)


def _draw_text(data: LatentSet, rows: Tensor, generator: torch.Generator) -> Tensor:
    """Text vectors of a batch, (B, L, D): mostly captions, else titles or the empty prompt (for guidance)."""
    draw = torch.rand(len(rows), generator=generator)[:, None, None]
    text = torch.where(draw < 1.0 - _TITLE_FRACTION, data.captions[rows], data.titles[rows])
    return torch.where(draw < EMPTY_PROMPT_FRACTION, data.empty.expand_as(text), text)
