"""The reference generator's UNet: its shape and its training on the corpus's latents."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor, nn

from creditline.devices import device_of
from creditline.generator.pipeline import Generator, Noising
from creditline.generator.reference import reference_corpus

EMPTY_PROMPT_FRACTION = 0.10
_TITLE_FRACTION = 0.20


def build_unet(*, channels: tuple[int, int] = (128, 160), norm_groups: int = 32) -> UNet2DConditionModel:
    """A UNet on the reference generator's latents and text, freshly initialised; by default its own."""
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


class FullPrecisionAttention:
    """Attention whose softmax is computed in float32 under autocast.

    PyTorch's attention in bfloat16 on processors takes ten times as long going backward.
    """

    def __call__(
        self,
        attention: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        **_unused: object,
    ) -> Tensor:
        """hidden_states: (B, P, C); encoder_hidden_states: (B, L, D) or None; returns (B, P, C)."""
        context = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        projected = (attention.to_q(hidden_states), attention.to_k(context), attention.to_v(context))
        heads = [part.unflatten(-1, (attention.heads, -1)).transpose(1, 2).float() for part in projected]
        with _no_autocast(hidden_states.device.type):
            mixed = nn.functional.scaled_dot_product_attention(*heads)
        project, dropout = attention.to_out
        joined: Tensor = dropout(project(mixed.transpose(1, 2).flatten(2)))
        return joined


def _no_autocast(device_type: str) -> AbstractContextManager[object]:
    """Autocast turned off, on devices that have it."""
    if torch.amp.is_autocast_available(device_type):
        return torch.autocast(device_type, enabled=False)
    return nullcontext()


@dataclass(frozen=True)
class LatentSet:
    """All that the UNet is trained on.

    latents: (2, N, C, H, W) float32, the second of the flipped pictures; captions, titles: (N, L, D)
    float32; empty: (L, D) float32; signal, noise: (1000,) float32.
    """

    latents: Tensor
    captions: Tensor
    titles: Tensor
    empty: Tensor
    signal: Tensor
    noise: Tensor


def encode_reference(generator: Generator) -> LatentSet:
    """The reference corpus as the pipeline itself encodes it: what the UNet will be fed when it is used."""
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
    """Velocity prediction on the reference corpus's latents (a `TrainingTask`).

    `latent_file` is a safetensors file of a `LatentSet`; `start` a UNet directory to go on from, for another
    stretch of training.
    """

    latent_file: Path
    start: Path | None = None
    name: str = "unet"
    precisions: tuple[str, ...] = ("float32", "bfloat16")
    _data: LatentSet | None = field(default=None, repr=False)

    def open(self) -> None:
        self._data = LatentSet(**load_file(self.latent_file))

    def build(self) -> nn.Module:
        unet = (
            build_unet()
            if self.start is None
            else UNet2DConditionModel.from_pretrained(
                self.start, torch_dtype=torch.float32, low_cpu_mem_usage=False
            )
        )
        return trainable(unet)

    def loss(self, model: nn.Module, generator: torch.Generator, batch: int) -> Tensor:
        assert self._data is not None, "open() comes first"
        data = self._data
        rows = torch.randint(data.latents.shape[1], (batch,), generator=generator)
        flips = torch.randint(2, (batch,), generator=generator)
        latents = data.latents[flips, rows]
        text = _draw_text(data, rows, generator)
        return velocity_loss(
            model, Noising(data.signal, data.noise, "v_prediction"), latents, text, generator
        )


def trainable(unet: UNet2DConditionModel) -> nn.Module:
    """The UNet in training mode, with attention that any precision trains fast."""
    unet.set_attn_processor(FullPrecisionAttention())
    module: nn.Module = unet.train()
    return module


def velocity_loss(
    model: nn.Module, noising: Noising, latents: Tensor, text: Tensor, generator: torch.Generator
) -> Tensor:
    """Mean squared error of the predicted velocity, at timesteps and noise drawn with the generator.

    latents: (B, C, H, W); text: (B, L, D). Batch, noise and schedule are taken to the model's device; the
    generator is the processor's, so that every device sees the same draws.
    """
    device = device_of(model)
    noising, latents, text = noising.to(device), latents.to(device), text.to(device)
    timesteps = spread_timesteps(len(noising.signal), len(latents), generator).to(device)
    noise = torch.randn(latents.shape, generator=generator).to(device)
    predicted = model(noising.noisy(latents, noise, timesteps), timesteps, text).sample
    return (predicted.float() - noising.target(latents, noise, timesteps)).square().mean()


def spread_timesteps(count: int, batch: int, generator: torch.Generator) -> Tensor:
    """One timestep from each of `batch` equal parts of the schedule: uniform, with less noise: (B,) int64."""
    places = (torch.arange(batch) + torch.rand(batch, generator=generator)) / batch
    return (places * count).long().clamp_max(count - 1)


def _draw_text(data: LatentSet, rows: Tensor, generator: torch.Generator) -> Tensor:
    """Mostly captions, sometimes titles, sometimes the empty prompt (for guidance): (B, L, D)."""
    draw = torch.rand(len(rows), generator=generator)[:, None, None]
    text = torch.where(draw < 1.0 - _TITLE_FRACTION, data.captions[rows], data.titles[rows])
    return torch.where(draw < EMPTY_PROMPT_FRACTION, data.empty.expand_as(text), text)
