"""The denoising loss of pictures, with noise that belongs to the picture and not to the batch.

It is the squared error of the predicted noise ε, whatever the UNet predicts: the loss of DDPM, in which the
papers measure influence. In v's own error the noisiest timesteps, which tell pictures least apart, have
gradients ten times as large as the cleanest and drown them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from creditline.errors import InvalidInput
from creditline.generator.pipeline import Generator

# What the error is taken of; artifacts of another loss are refused.
LOSS = "noise"
DEFAULT_TIMESTEPS = 10
_PASSES_PER_BATCH = 64
# A batch's numbers at the UNet's first level, passes · channels · height · width: what bounds memory. One
# pass of Stable Diffusion 1.5 has 1.3 million, and 64 passes of the reference generator have half a million.
_NUMBERS_PER_BATCH = 2**21


@dataclass(frozen=True)
class Examples:
    """Pictures with their texts, as the UNet sees them. Row i belongs to `ids[i]`.

    latents: (N, C, H, W) float32; text: (N, L, D) float32.
    """

    ids: tuple[str, ...]
    latents: Tensor
    text: Tensor

    def __len__(self) -> int:
        return len(self.ids)

    def rows(self, rows: Sequence[int]) -> Examples:
        """The named rows, in that order."""
        index = torch.as_tensor(list(rows), dtype=torch.long, device=self.latents.device)
        return Examples(tuple(self.ids[row] for row in rows), self.latents[index], self.text[index])

    def to(self, device: torch.device) -> Examples:
        """The same on another device."""
        return Examples(self.ids, self.latents.to(device), self.text.to(device))


def encoded_examples(
    generator: Generator, ids: Sequence[str], pictures: Sequence[Image.Image], prompts: Sequence[str]
) -> Examples:
    """Pictures with their prompts as this generator's UNet sees them."""
    return Examples(tuple(ids), generator.latents(pictures), generator.prompt_vectors(prompts))


@dataclass(frozen=True)
class Draws:
    """Which (timestep, noise) pairs a loss is averaged over: `repeats` noises at each of `timesteps`.

    Timesteps are strided evenly over the schedule, in the middle of each stride. `salt` changes the noise.
    `mirrored`: the second half of the repeats is the first half's noise negated, so that whatever is odd in
    the noise cancels; then `repeats` is even. Raises InvalidInput when it is not.

    Timesteps and noise are made on the processor: the same numbers wherever the generator runs.
    """

    timesteps: int = DEFAULT_TIMESTEPS
    repeats: int = 1
    salt: str = ""
    mirrored: bool = False

    def __post_init__(self) -> None:
        if self.mirrored and self.repeats % 2:
            raise InvalidInput(f"mirrored noise comes in pairs; got {self.repeats} repeats", field="repeats")

    def __len__(self) -> int:
        return self.timesteps * self.repeats

    def schedule(self, length: int) -> Tensor:
        """(T · repeats,) int64."""
        stride = length / self.timesteps
        steps = torch.tensor([int((i + 0.5) * stride) for i in range(self.timesteps)])
        return steps.repeat_interleave(self.repeats)

    def noise(self, example_id: str, shape: tuple[int, ...]) -> Tensor:
        """The noise of one example, the same whatever batch it is in: (T · repeats, *shape) float32."""
        generator = example_generator(self.salt, example_id)
        if not self.mirrored:
            return torch.randn((len(self), *shape), generator=generator)
        half = torch.randn((self.timesteps, self.repeats // 2, *shape), generator=generator)
        return torch.cat([half, -half], dim=1).flatten(0, 1)


@dataclass(frozen=True)
class ClearDraws(Draws):
    """Draws at the first `part` of the schedule only, where a picture can still be told from another."""

    part: float = 1.0

    def schedule(self, length: int) -> Tensor:
        return super().schedule(round(self.part * length))


@dataclass(frozen=True)
class DrawsAt(Draws):
    """`repeats` noises at one timestep of the schedule."""

    timesteps: int = 1
    at: int = 0

    def schedule(self, length: int) -> Tensor:
        return torch.full((len(self),), self.at)


def example_generator(salt: str, example_id: str) -> torch.Generator:
    """Random numbers that belong to one example, whatever else is drawn; another salt gives others."""
    digest = hashlib.sha256(f"{salt}\0{example_id}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


@dataclass(frozen=True)
class NoisyBatch:
    """UNet inputs and targets for some (example, draw) pairs: (B, C, H, W), (B,), (B, L, D), (B, C, H, W).

    noise_error: what turns a squared error of the prediction into one of the noise, (B,).
    """

    inputs: Tensor
    timesteps: Tensor
    text: Tensor
    targets: Tensor
    noise_error: Tensor

    def squared_errors(self, predicted: Tensor) -> Tensor:
        """Mean squared error of what the UNet predicts, in each pass: (B,). predicted: (B, C, H, W)."""
        return (predicted - self.targets).square().mean(dim=(1, 2, 3))

    def noise_losses(self, predicted: Tensor) -> Tensor:
        """Mean squared error of the predicted noise in each pass: (B,)."""
        return self.noise_error * self.squared_errors(predicted)

    def split(self, passes: int) -> Iterator[NoisyBatch]:
        """Batches of at most so many passes, in order."""
        columns = (self.inputs, self.timesteps, self.text, self.targets, self.noise_error)
        for part in zip(*(column.split(passes) for column in columns), strict=True):
            yield NoisyBatch(*part)


def passes_per_batch(unet: Any) -> int:
    """The most passes that go through this UNet at once."""
    numbers = unet.config.block_out_channels[0] * unet.config.sample_size**2
    return max(1, _NUMBERS_PER_BATCH // numbers)


def examples_per_batch(draws: Draws) -> int:
    """How many whole examples make one batch (which a large UNet takes in parts: `passes_per_batch`)."""
    return max(1, _PASSES_PER_BATCH // len(draws))


def noisy_batch(generator: Generator, examples: Examples, draws: Draws) -> NoisyBatch:
    """All draws of all given examples, example-major: B = len(examples) · len(draws)."""
    device = examples.latents.device
    timesteps = draws.schedule(generator.timesteps).repeat(len(examples)).to(device)
    shape = tuple(examples.latents.shape[1:])
    noise = torch.cat([draws.noise(example_id, shape) for example_id in examples.ids]).to(device)
    latents = examples.latents.repeat_interleave(len(draws), dim=0)
    noising = generator.noising
    return NoisyBatch(
        inputs=noising.noisy(latents, noise, timesteps),
        timesteps=timesteps,
        text=examples.text.repeat_interleave(len(draws), dim=0),
        targets=noising.target(latents, noise, timesteps),
        noise_error=noising.noise_error(timesteps),
    )


def batch_losses(generator: Generator, batch: NoisyBatch) -> Tensor:
    """Mean squared error of the predicted noise in each pass: (B,) float32, differentiable."""
    predicted = generator.unet(batch.inputs, batch.timesteps, batch.text).sample
    return batch.noise_losses(predicted)


@torch.no_grad()
def denoising_losses(generator: Generator, examples: Examples, draws: Draws) -> Tensor:
    """The loss of every example at every draw: (N, T · repeats) float32.

    The numbers do not depend on how examples are batched, up to float32 rounding. Raises InvalidInput when
    one is no number.
    """
    step, passes = examples_per_batch(draws), passes_per_batch(generator.unet)
    losses = []
    for start in range(0, len(examples), step):
        part = examples.rows(range(start, min(start + step, len(examples))))
        batch = noisy_batch(generator, part, draws)
        losses += [batch_losses(generator, few) for few in batch.split(passes)]
    found = torch.cat(losses).view(len(examples), len(draws))
    _refuse_broken(found, examples, draws.schedule(generator.timesteps))
    return found


def _refuse_broken(losses: Tensor, examples: Examples, timesteps: Tensor) -> None:
    broken = (~losses.isfinite()).nonzero()
    if len(broken):
        row, draw = broken[0].tolist()
        at, loss = int(timesteps[draw]), float(losses[row, draw])
        raise InvalidInput(
            f"the loss of {examples.ids[row]!r} at timestep {at} is {loss};"
            " check that picture, and the generator's weights for NaN",
            field="loss",
        )
