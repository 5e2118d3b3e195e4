"""A generator: a diffusers pipeline loaded from its directory, with a fingerprint."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from creditline.device_setting import CPU
from creditline.devices import device_of, torch_device
from creditline.generator.adapters.merging import merge, merged_fingerprint, read_updates
from creditline.generator.adapters.specification import AdapterSpec
from creditline.generator.fingerprint import open_with_fingerprint
from creditline.pictures.preparation import pixels

GUIDANCE = 2.5
STEPS = 25
# Loggers that print a warning with the whole prompt for each prompt longer than the text encoder's window.
_VERBOSE_LOGGERS = (
    "diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion",
    "transformers.tokenization_utils_base",
)
_log = logging.getLogger(__name__)
_SAMPLING_BATCH = 16
_ENCODING_BATCH = 64
# Largest batch of the VAE in pixels, which bounds memory: 64 pictures of 128 × 128, or four of 512 × 512.
_ENCODING_PIXELS = 2**20


@dataclass(frozen=True)
class Noising:
    """The forward process x_t = signal[t] · x_0 + noise[t] · ε, and the quantity that the UNet predicts."""

    signal: Tensor
    """(timesteps,) float32, coefficient of the clean latents."""
    noise: Tensor
    """(timesteps,) float32, coefficient of the noise ε."""
    prediction: str
    """"epsilon" or "v_prediction"."""

    def to(self, device: torch.device) -> Noising:
        """The process with its coefficients on another device."""
        return replace(self, signal=self.signal.to(device), noise=self.noise.to(device))

    def noisy(self, latents: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """Noisy latents x_t.

        Args:
            latents: (B, C, H, W) float32, clean latents x_0.
            noise: (B, C, H, W) float32, noise ε.
            timesteps: (B,) int64.

        Returns:
            (B, C, H, W) float32.
        """
        return self._of(self.signal, timesteps) * latents + self._of(self.noise, timesteps) * noise

    def target(self, latents: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """Training target of the UNet: ε, or v = signal · ε − noise · x_0 (arXiv 2202.00512).

        Args:
            latents: (B, C, H, W) float32, clean latents x_0.
            noise: (B, C, H, W) float32, noise ε.
            timesteps: (B,) int64.

        Returns:
            (B, C, H, W) float32.
        """
        if self.prediction == "epsilon":
            return noise
        return self._of(self.signal, timesteps) * noise - self._of(self.noise, timesteps) * latents

    def clean(self, noisy: Tensor, predicted: Tensor, timesteps: Tensor) -> Tensor:
        """The clean latents x_0 that a prediction implies.

        Args:
            noisy: (B, C, H, W) float32, noisy latents x_t.
            predicted: (B, C, H, W) float32, output of the UNet.
            timesteps: (B,) int64.

        Returns:
            (B, C, H, W) float32.
        """
        signal, noise = self._of(self.signal, timesteps), self._of(self.noise, timesteps)
        if self.prediction == "epsilon":
            return (noisy - noise * predicted) / signal
        return signal * noisy - noise * predicted

    def noise_error(self, timesteps: Tensor) -> Tensor:
        """Factor from the squared error of the prediction to that of the noise ε: (B,) float32.

        For v-prediction, ε = signal · v + noise · x_t with known x_t, so the factor is signal².
        """
        if self.prediction == "epsilon":
            return torch.ones_like(self.signal)[timesteps]
        return self.signal[timesteps].square()

    @staticmethod
    def _of(values: Tensor, timesteps: Tensor) -> Tensor:
        return values[timesteps][:, None, None, None]


class Generator:
    """A loaded pipeline, for use as `with Generator.open(directory) as generator`.

    Attributes:
        pipeline: The diffusers pipeline; None after the `with` block.
        fingerprint: Fingerprint of what was loaded (`fingerprint.Fingerprint.whole`).
        directory: The pipeline directory.
        noising: The forward process, on the generator's device.
        adapters: LoRA adapters that are merged into the weights.
        notes: What the directory holds but the generator does not use, one sentence each.
    """

    def __init__(
        self,
        pipeline: Any,
        fingerprint: str,
        directory: Path,
        *,
        adapters: Sequence[AdapterSpec] = (),
        notes: tuple[str, ...] = (),
    ) -> None:
        self.pipeline = pipeline
        self.fingerprint = fingerprint
        self.directory = directory
        self.adapters = tuple(adapters)
        self.notes = notes
        alphas = pipeline.scheduler.alphas_cumprod.to(torch.float32)
        self.noising = Noising(
            signal=alphas.sqrt(),
            noise=(1.0 - alphas).sqrt(),
            prediction=pipeline.scheduler.config.prediction_type,
        ).to(self.device)

    @classmethod
    def open(cls, directory: Path, *, adapters: Sequence[AdapterSpec] = (), device: str = CPU) -> Generator:
        """Load a `StableDiffusionPipeline` directory in float32, without its safety checker.

        Args:
            directory: The pipeline directory.
            adapters: LoRA adapters that are merged into its weights; they are part of the fingerprint.
            device: Device of all its models, a name as of `devices.choose_device`.

        Raises:
            NotReady: The directory is not a pipeline, or an adapter does not exist.
            InvalidInput: A part is missing, damaged, of another kind, or does not fit the others; or an
                adapter cannot be merged whole.
        """
        for name in _VERBOSE_LOGGERS:
            logging.getLogger(name).setLevel(logging.ERROR)
        opened, fingerprint = open_with_fingerprint(directory)
        updates = read_updates(opened.pipeline, adapters)
        merge(opened.pipeline, updates)
        notes = tuple(note for note in opened.notes if not _is_of(note, adapters))
        for note in notes:
            _log.warning("%s", note)
        pipeline = opened.pipeline.to(torch_device(device))
        merged = merged_fingerprint(fingerprint.whole, updates)
        return cls(pipeline, merged, directory, adapters=adapters, notes=notes)

    def __enter__(self) -> Generator:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.pipeline = None

    @property
    def unet(self) -> Any:
        """The UNet of the pipeline."""
        return self.pipeline.unet

    @property
    def device(self) -> torch.device:
        """Device of the models, on which their inputs must be."""
        return device_of(self.unet)

    @property
    def timesteps(self) -> int:
        """Number of timesteps of the training schedule."""
        return int(self.pipeline.scheduler.config.num_train_timesteps)

    @property
    def resolution(self) -> int:
        """Height and width of generated pictures, in pixels."""
        return int(self.unet.config.sample_size * self.pipeline.vae_scale_factor)

    @torch.no_grad()
    def latents(self, pictures: Sequence[Image.Image]) -> Tensor:
        """Mean latents of pictures, scaled for the UNet: (B, C, H, W) float32, on the generator's device."""
        encoded = []
        step = max(1, min(_ENCODING_BATCH, _ENCODING_PIXELS // self.resolution**2))
        for start in range(0, len(pictures), step):
            rgb = [
                torch.from_numpy(pixels(picture, side=self.resolution)).permute(2, 0, 1) * 2.0 - 1.0
                for picture in pictures[start : start + step]
            ]
            posterior = self.pipeline.vae.encode(torch.stack(rgb).to(self.device)).latent_dist
            encoded.append(posterior.mean * self.pipeline.vae.config.scaling_factor)
        return torch.cat(encoded)

    @torch.no_grad()
    def prompt_vectors(self, prompts: Sequence[str]) -> Tensor:
        """Text vectors of prompts by the text encoder: (B, tokens, D) float32, on the generator's device."""
        encoded = []
        for start in range(0, len(prompts), _ENCODING_BATCH):
            vectors, _ = self.pipeline.encode_prompt(
                list(prompts[start : start + _ENCODING_BATCH]), self.device, 1, False
            )
            encoded.append(vectors)
        return torch.cat(encoded)

    @torch.no_grad()
    def sample(
        self,
        prompts: Sequence[str],
        seeds: Sequence[int],
        *,
        guidance: float = GUIDANCE,
        steps: int = STEPS,
    ) -> list[Image.Image]:
        """Generate one picture per prompt.

        The same seed gives the same picture in any batch. The noise is drawn on the CPU, so it is the same on
        every device.

        Args:
            prompts: The prompts.
            seeds: Seed of each picture.
            guidance: Scale of classifier-free guidance.
            steps: Number of sampling steps.
        """
        pictures: list[Image.Image] = []
        for start in range(0, len(prompts), _SAMPLING_BATCH):
            batch = slice(start, start + _SAMPLING_BATCH)
            noise = [torch.Generator().manual_seed(seed) for seed in seeds[batch]]
            pictures += self.pipeline(
                list(prompts[batch]), generator=noise, guidance_scale=guidance, num_inference_steps=steps
            ).images
        return pictures

    def trajectory(
        self, prompt: str, seed: int, *, guidance: float = GUIDANCE, steps: int = STEPS
    ) -> tuple[Tensor, Tensor]:
        """The noisy latents that the UNet receives while `sample` generates a picture.

        The initial noise, which is the input of the first step, is left out.

        Args:
            prompt: Prompt of the picture.
            seed: Seed of the picture.
            guidance: Scale of classifier-free guidance.
            steps: Number of sampling steps.

        Returns:
            Latents (steps − 1, C, H, W) float32 and timesteps (steps − 1,) int64, on the generator's device.
        """
        recorded: list[Tensor] = []

        def record(
            pipeline: Any, step: int, timestep: Tensor, tensors: dict[str, Tensor]
        ) -> dict[str, Tensor]:
            recorded.append(tensors["latents"][0].detach().float())
            return tensors

        self.pipeline(
            [prompt],
            generator=[torch.Generator().manual_seed(seed)],
            guidance_scale=guidance,
            num_inference_steps=steps,
            output_type="latent",
            callback_on_step_end=record,
        )
        return torch.stack(recorded[:-1]), self.pipeline.scheduler.timesteps[1:].to(self.device, torch.long)


def _is_of(note: str, adapters: Sequence[AdapterSpec]) -> bool:
    """Whether a note says of a file that it is not applied, which is one of the adapters."""
    return any(Path(note.split(" is a LoRA file")[0]).resolve() == one.path.resolve() for one in adapters)
