"""Tiny pipelines in Stable Diffusion 1.5's layout that are really trained on a corpus, in some minutes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers import StableDiffusionPipeline
from torch import Tensor
from torch.nn import functional

from creditline.corpus.works import Corpus
from creditline.pictures.preparation import pixels
from tests.pipelines import stable_diffusion_15

_BATCH = 16
_VAE_RATE, _UNET_RATE = 2e-3, 1e-3
_KL_WEIGHT = 1e-6
# Part of the examples that are trained without their caption, for classifier-free guidance.
_WITHOUT_CAPTION = 0.1


def trained_on(
    corpus: Corpus, directory: Path, *, seed: int, vae_steps: int, unet_steps: int, side: int = 64
) -> Path:
    """Write a tiny pipeline whose VAE and UNet are trained on the works; its text encoder is not.

    Args:
        corpus: The works.
        directory: The directory to write.
        seed: Seed of the weights and of all draws.
        vae_steps: Optimiser steps of the VAE.
        unet_steps: Optimiser steps of the UNet.
        side: Height and width of pictures in pixels, a multiple of 8.

    Returns:
        `directory`.
    """
    stable_diffusion_15(directory, seed=seed, side=side)
    pipeline: Any = StableDiffusionPipeline.from_pretrained(directory, safety_checker=None)
    pictures = torch.stack(
        [torch.from_numpy(pixels(work.picture(), side=side)).permute(2, 0, 1) * 2.0 - 1.0 for work in corpus]
    )
    draws = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        latents = _train_vae(pipeline.vae, pictures, draws, vae_steps)
        _train_unet(pipeline, latents, [work.caption for work in corpus], draws, unet_steps)
    pipeline.vae.save_pretrained(directory / "vae")
    pipeline.unet.save_pretrained(directory / "unet")
    return directory


def _train_vae(vae: Any, pictures: Tensor, draws: torch.Generator, steps: int) -> Tensor:
    """Train the VAE; returns the pictures' latents, scaled to unit deviation: (N, C, H, W) float32."""
    optimizer = torch.optim.AdamW(vae.train().parameters(), _VAE_RATE)
    for _ in range(steps):
        batch = pictures[torch.randint(len(pictures), (_BATCH,), generator=draws)]
        posterior = vae.encode(batch).latent_dist
        restored = vae.decode(posterior.sample(generator=draws)).sample
        _step(optimizer, functional.l1_loss(restored, batch) + _KL_WEIGHT * posterior.kl().mean())
    with torch.no_grad():
        latents = torch.cat([vae.eval().encode(part).latent_dist.mean for part in pictures.split(32)])
    factor = 1.0 / float(latents.std())
    vae.register_to_config(scaling_factor=factor)
    return latents * factor


def _train_unet(
    pipeline: Any, latents: Tensor, captions: list[str], draws: torch.Generator, steps: int
) -> None:
    """Train the UNet to predict the noise of noisy latents under their captions."""
    signal = pipeline.scheduler.alphas_cumprod
    with torch.no_grad():
        texts = [pipeline.encode_prompt([caption], "cpu", 1, False)[0] for caption in ["", *captions]]
    empty, text = texts[0], torch.cat(texts[1:])
    optimizer = torch.optim.AdamW(pipeline.unet.train().parameters(), _UNET_RATE)
    for _ in range(steps):
        rows = torch.randint(len(latents), (_BATCH,), generator=draws)
        times = torch.randint(len(signal), (_BATCH,), generator=draws)
        noise = torch.randn(latents[rows].shape, generator=draws)
        kept = signal[times][:, None, None, None]
        noisy = kept.sqrt() * latents[rows] + (1.0 - kept).sqrt() * noise
        left_out = (torch.rand(_BATCH, generator=draws) < _WITHOUT_CAPTION)[:, None, None]
        predicted = pipeline.unet(noisy, times, torch.where(left_out, empty, text[rows])).sample
        _step(optimizer, functional.mse_loss(predicted, noise))
    pipeline.unet.eval()


def _step(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
