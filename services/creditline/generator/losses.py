"""The denoising loss of pictures, with noise that depends on the picture and not on the batch.

The loss is the squared error of the predicted noise ε, whatever the UNet predicts: the loss of DDPM, in which
the papers measure influence. In the error of v itself, the noisiest timesteps, which distinguish pictures
least, would dominate: their gradients are ten times as large as those of the cleanest.
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

# Name of the loss; artifacts that were computed with another loss are rejected.
LOSS = "noise"
DEFAULT_TIMESTEPS = 10
_PASSES_PER_BATCH = 64
# Largest number of activations of a batch at the UNet's first level, passes · channels · height · width,
# which bounds memory. One pass of Stable Diffusion 1.5 has 1.3 million, 64 passes of the reference generator
# have half a million.
_ACTIVATIONS_PER_BATCH = 2**21


@dataclass(frozen=True)
class Examples:
    """Pictures with their texts, as inputs of the UNet."""

    ids: tuple[str, ...]
    """(N,) ids of the pictures, in row order."""
    latents: Tensor
    """(N, C, H, W) float32, latents of the pictures."""
    text: Tensor
    """(N, L, D) float32, text vectors."""

    def __len__(self) -> int:
        return len(self.ids)

    def rows(self, rows: Sequence[int]) -> Examples:
        """The examples with the given row indices, in that order."""
        index = torch.as_tensor(list(rows), dtype=torch.long, device=self.latents.device)
        return Examples(tuple(self.ids[row] for row in rows), self.latents[index], self.text[index])

    def to(self, device: torch.device) -> Examples:
        """The examples on another device."""
        return Examples(self.ids, self.latents.to(device), self.text.to(device))


def encoded_examples(
    generator: Generator, ids: Sequence[str], pictures: Sequence[Image.Image], prompts: Sequence[str]
) -> Examples:
    """Encode pictures and prompts as inputs of a generator's UNet."""
    return Examples(tuple(ids), generator.latents(pictures), generator.prompt_vectors(prompts))


@dataclass(frozen=True)
class Draws:
    """The (timestep, noise) pairs over which a loss is averaged.

    Timesteps are in the middle of equal parts of the schedule. Timesteps and noise are computed on the CPU,
    so they are the same on every device of the generator.

    Raises:
        InvalidInput: Mirrored noise with an odd number of repeats.
    """

    timesteps: int = DEFAULT_TIMESTEPS
    """Number of timesteps T."""
    repeats: int = 1
    """Number of noise samples at each timestep."""
    salt: str = ""
    """Part of the seed of the noise; another salt gives other noise."""
    mirrored: bool = False
    """Whether the second half of the repeats is the negated noise of the first half (antithetic sampling), so
    that odd terms in the noise cancel; `repeats` must then be even."""

    def __post_init__(self) -> None:
        if self.mirrored and self.repeats % 2:
            raise InvalidInput(
                f"mirrored noise needs an even number of repeats; got {self.repeats}", field="repeats"
            )

    def __len__(self) -> int:
        return self.timesteps * self.repeats

    def schedule(self, length: int) -> Tensor:
        """Timesteps of all draws for a schedule of the given length: (T · repeats,) int64."""
        stride = length / self.timesteps
        steps = torch.tensor([int((i + 0.5) * stride) for i in range(self.timesteps)])
        return steps.repeat_interleave(self.repeats)

    def noise(self, example_id: str, shape: tuple[int, ...]) -> Tensor:
        """The noise of one example, independent of its batch: (T · repeats, *shape) float32."""
        generator = example_generator(self.salt, example_id)
        if not self.mirrored:
            return torch.randn((len(self), *shape), generator=generator)
        half = torch.randn((self.timesteps, self.repeats // 2, *shape), generator=generator)
        return torch.cat([half, -half], dim=1).flatten(0, 1)


@dataclass(frozen=True)
class ClearDraws(Draws):
    """Draws in the first part of the schedule only, where pictures can still be distinguished."""

    part: float = 1.0
    """Fraction of the schedule, from its clean end."""

    def schedule(self, length: int) -> Tensor:
        """Timesteps of all draws for a schedule of the given length: (T · repeats,) int64."""
        return super().schedule(round(self.part * length))


@dataclass(frozen=True)
class DrawsAt(Draws):
    """Draws at one timestep of the schedule."""

    timesteps: int = 1
    """Number of timesteps, always 1."""
    at: int = 0
    """The timestep."""

    def schedule(self, length: int) -> Tensor:
        """The timestep, repeated for each draw: (repeats,) int64."""
        return torch.full((len(self),), self.at)


@dataclass(frozen=True)
class CommonDraws(Draws):
    """Draws with the same noise for all pictures, as in the code of D-TRAK and of DMin.

    With noise in common, the gradients of two pictures differ only by the pictures; with noise of their own,
    also by the noise, which hides part of what the pictures share.
    """

    noise_id: str = "common"
    """Id that seeds the noise of every example."""

    def noise(self, example_id: str, shape: tuple[int, ...]) -> Tensor:
        """The noise that all examples share: (T · repeats, *shape) float32."""
        return super().noise(self.noise_id, shape)


@dataclass(frozen=True)
class NoisyDraws(CommonDraws):
    """Draws in the last, noisiest part of the schedule, with the same noise for all pictures (MUCS)."""

    part: float = 1.0
    """Fraction of the schedule, from its noisy end."""

    def schedule(self, length: int) -> Tensor:
        """Timesteps of all draws for a schedule of the given length: (T · repeats,) int64."""
        last = round(self.part * length)
        return length - last + super().schedule(last)


def common_noise(draws: Draws) -> CommonDraws:
    """The same timesteps and repeats, with noise that all pictures share."""
    return CommonDraws(draws.timesteps, draws.repeats, draws.salt, draws.mirrored)


def example_generator(salt: str, example_id: str) -> torch.Generator:
    """A random generator of the CPU that is seeded by an example, independent of all other draws.

    Args:
        salt: Part of the seed; another salt gives other numbers.
        example_id: Id of the example.
    """
    digest = hashlib.sha256(f"{salt}\0{example_id}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


@dataclass(frozen=True)
class NoisyBatch:
    """Inputs and targets of the UNet for B (example, draw) pairs."""

    inputs: Tensor
    """(B, C, H, W) float32, noisy latents."""
    timesteps: Tensor
    """(B,) int64."""
    text: Tensor
    """(B, L, D) float32, text vectors."""
    targets: Tensor
    """(B, C, H, W) float32, the correct predictions."""
    noise_error: Tensor
    """(B,) float32, factor from the squared error of the prediction to that of the noise ε."""

    def squared_errors(self, predicted: Tensor) -> Tensor:
        """Mean squared error of the UNet's prediction in each pass.

        Args:
            predicted: (B, C, H, W) output of the UNet.

        Returns:
            (B,).
        """
        return (predicted - self.targets).square().mean(dim=(1, 2, 3))

    def noise_losses(self, predicted: Tensor) -> Tensor:
        """Mean squared error of the predicted noise in each pass.

        Args:
            predicted: (B, C, H, W) output of the UNet.

        Returns:
            (B,).
        """
        return self.noise_error * self.squared_errors(predicted)

    def split(self, passes: int) -> Iterator[NoisyBatch]:
        """Consecutive batches of at most `passes` passes."""
        columns = (self.inputs, self.timesteps, self.text, self.targets, self.noise_error)
        for part in zip(*(column.split(passes) for column in columns), strict=True):
            yield NoisyBatch(*part)


def passes_per_batch(unet: Any) -> int:
    """Largest number of passes in one forward call of a UNet."""
    activations = unet.config.block_out_channels[0] * unet.config.sample_size**2
    return max(1, _ACTIVATIONS_PER_BATCH // activations)


def examples_per_batch(draws: Draws) -> int:
    """Number of complete examples in a batch, which a large UNet processes in parts (`passes_per_batch`)."""
    return max(1, _PASSES_PER_BATCH // len(draws))


def noisy_batch(generator: Generator, examples: Examples, draws: Draws) -> NoisyBatch:
    """The batch of all draws of all given examples, example by example: B = len(examples) · len(draws)."""
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
    """Mean squared error of the predicted noise in each pass of a batch: (B,) float32, differentiable."""
    predicted = generator.unet(batch.inputs, batch.timesteps, batch.text).sample
    return batch.noise_losses(predicted)


@torch.no_grad()
def denoising_losses(generator: Generator, examples: Examples, draws: Draws) -> Tensor:
    """The loss of each example at each draw.

    Up to float32 rounding, the values do not depend on how examples are batched.

    Args:
        generator: The generator.
        examples: N examples, on the generator's device.
        draws: Timesteps and noise.

    Returns:
        (N, T · repeats) float32.

    Raises:
        InvalidInput: A loss is NaN or infinite.
    """
    step, passes = examples_per_batch(draws), passes_per_batch(generator.unet)
    losses = []
    for start in range(0, len(examples), step):
        part = examples.rows(range(start, min(start + step, len(examples))))
        batch = noisy_batch(generator, part, draws)
        losses += [batch_losses(generator, split) for split in batch.split(passes)]
    by_example = torch.cat(losses).view(len(examples), len(draws))
    _refuse_not_finite(by_example, examples, draws.schedule(generator.timesteps))
    return by_example


def _refuse_not_finite(losses: Tensor, examples: Examples, timesteps: Tensor) -> None:
    not_finite = (~losses.isfinite()).nonzero()
    if len(not_finite):
        row, draw = not_finite[0].tolist()
        at, loss = int(timesteps[draw]), float(losses[row, draw])
        raise InvalidInput(
            f"the loss of {examples.ids[row]!r} at timestep {at} is {loss}; check that picture, and the"
            " generator's weights for NaN",
            field="loss",
        )
