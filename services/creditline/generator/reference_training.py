"""Trains the reference generator end to end: VAE, latents, UNet, and the fp16 weights that are shipped."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import AutoencoderKL
from safetensors.torch import load_file
from torch import Tensor, nn

from creditline.build_lock import build_lock
from creditline.device_setting import CPU
from creditline.files import replace_directory
from creditline.generator.assembly import assemble
from creditline.generator.autoencoder import VaeTask, build_vae, picture_tensors
from creditline.generator.denoiser import UnetTask, build_unet, encode_reference
from creditline.generator.pipeline import Generator
from creditline.generator.reference import reference_corpus
from creditline.generator.training import Schedule, train
from creditline.tensor_files import write_tensors

_EMA_PREFIX = "vae."


@dataclass(frozen=True)
class Recipe:
    """The two schedules of one training of the reference generator.

    With `start` (a directory with `unet/` and `vae/`), another stretch: its VAE is kept as it is, so that the
    latents stay the same, and its UNet is trained on.
    """

    vae: Schedule
    unet: Schedule
    start: Path | None = None


def reference_recipe(
    *, vae_minutes: float, unet_minutes: float, workers: int, start: Path | None = None
) -> Recipe:
    """The recipe of the shipped weights; only the time and the number of workers are the caller's."""
    return Recipe(
        vae=Schedule(
            minutes=vae_minutes, batch=16, learning_rate=1.2e-3, workers=workers, seed=0, ema_decay=0.998
        ),
        unet=Schedule(
            minutes=unet_minutes, batch=64, learning_rate=1e-3, workers=workers, seed=1, ema_decay=0.999
        ),
        start=start,
    )


def train_reference(
    recipe: Recipe, directory: Path, report: Callable[[str], None], *, device: str = CPU
) -> Path:
    """Run or resume all stages in `directory` on a device; returns the assembled pipeline directory."""
    vae_directory = _vae(recipe, directory, report, device)
    latent_file = directory / "latents.safetensors"
    with build_lock(latent_file, on_wait=report):
        if not latent_file.exists():
            encode_latents(vae_directory, directory, latent_file, device=device)
    start = None if recipe.start is None else recipe.start / "unet"
    unet_weights = train(UnetTask(latent_file, start), recipe.unet, directory, report, device=device)
    unet_directory = finish_unet(unet_weights, directory / "unet")
    return assemble(directory / "generator", unet=unet_directory, vae=vae_directory)


def _vae(recipe: Recipe, directory: Path, report: Callable[[str], None], device: str) -> Path:
    if recipe.start is not None:
        return recipe.start / "vae"
    weights = train(VaeTask(), recipe.vae, directory, report, device=device)
    return finish_vae(weights, directory / "vae")


def finish_vae(weights: Path, output: Path) -> Path:
    """Averaged weights → a centred VAE with unit-deviation latents, saved in fp16."""
    vae = build_vae().eval()
    state = load_file(weights)
    vae.load_state_dict({name.removeprefix(_EMA_PREFIX): value for name, value in state.items()})
    centre_latents(vae, picture_tensors(reference_corpus()))
    with replace_directory(output) as draft:
        vae.half().save_pretrained(draft)
    return output


@torch.no_grad()
def centre_latents(vae: AutoencoderKL, pictures: Tensor) -> None:
    """Fold each channel's mean into the VAE's 1 × 1 convolutions, and set the scaling factor.

    Afterwards mean latents have zero mean in every channel and unit deviation over all, and the pictures
    that come out are the same.
    """
    means = torch.cat([vae.encode(part).latent_dist.mean for part in pictures.split(64)])
    shift = means.mean(dim=(0, 2, 3))
    _parameter(vae.quant_conv.bias)[: len(shift)] -= shift
    weight = _parameter(vae.post_quant_conv.weight)
    _parameter(vae.post_quant_conv.bias).add_(weight[:, :, 0, 0] @ shift)
    deviation = (means - shift[:, None, None]).std()
    vae.register_to_config(scaling_factor=float(1.0 / deviation))


def _parameter(value: Tensor | None) -> Tensor:
    assert isinstance(value, nn.Parameter), "the VAE is built with biases"
    return value


def encode_latents(vae_directory: Path, directory: Path, latent_file: Path, *, device: str = CPU) -> None:
    """Encode the corpus by a pipeline with the finished VAE (the UNet in it is not used)."""
    untrained = directory / "untrained-unet"
    with replace_directory(untrained) as draft:
        build_unet().save_pretrained(draft)
    assemble(directory / "encoding-pipeline", unet=untrained, vae=vae_directory)
    with Generator.open(directory / "encoding-pipeline", device=device) as generator:
        data = encode_reference(generator)
    write_tensors(latent_file, vars(data))


def finish_unet(weights: Path, output: Path) -> Path:
    """Averaged weights, saved in fp16."""
    unet = build_unet()
    unet.load_state_dict(load_file(weights))
    with replace_directory(output) as draft:
        unet.half().save_pretrained(draft)
    return output
