"""Training of the reference generator: VAE, latents, UNet, and the fp16 weights of the package."""

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
    """Schedules of one training of the reference generator."""

    vae: Schedule
    """Schedule of the VAE."""
    unet: Schedule
    """Schedule of the UNet."""
    start: Path | None = None
    """Directory with `unet/` and `vae/` whose training is continued: the VAE is not changed, so the latents
    stay the same, and the UNet is trained further. None: train both from initial weights."""


def reference_recipe(
    *, vae_minutes: float, unet_minutes: float, workers: int, start: Path | None = None
) -> Recipe:
    """The recipe of the package's weights, for a given time and number of workers.

    Args:
        vae_minutes: Training time of the VAE.
        unet_minutes: Training time of the UNet.
        workers: Number of processes.
        start: Weights whose training is continued (`Recipe.start`).
    """
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
    """Run or resume all stages of the training.

    Args:
        recipe: Schedules and starting weights.
        directory: Directory of all results and checkpoints.
        report: Receives progress lines.
        device: Device on which the models are trained.

    Returns:
        The assembled pipeline directory.

    Raises:
        FingerprintMismatch: The directory holds checkpoints of another schedule.
    """
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
    """Save the trained VAE in fp16, with centred latents of unit standard deviation.

    Args:
        weights: Safetensors file of averaged weights.
        output: Diffusers directory to write.

    Returns:
        `output`.
    """
    vae = build_vae().eval()
    state = load_file(weights)
    vae.load_state_dict({name.removeprefix(_EMA_PREFIX): value for name, value in state.items()})
    centre_latents(vae, picture_tensors(reference_corpus()))
    with replace_directory(output) as draft:
        vae.half().save_pretrained(draft)
    return output


@torch.no_grad()
def centre_latents(vae: AutoencoderKL, pictures: Tensor) -> None:
    """Fold the mean of each latent channel into the VAE's 1 × 1 convolutions, and set its scaling factor.

    Afterwards, mean latents have zero mean in each channel and, scaled, unit standard deviation over all
    channels; reconstructions are unchanged.

    Args:
        vae: The VAE, changed in place.
        pictures: (N, 3, H, W) float32 in [−1, 1], from which mean and deviation are computed.
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
    """Encode the reference corpus with a pipeline of the finished VAE and an unused, untrained UNet.

    Args:
        vae_directory: Diffusers directory of the VAE.
        directory: Directory in which the pipeline is assembled.
        latent_file: Safetensors file of a `LatentSet` to write.
        device: Device on which the pipeline runs.
    """
    untrained = directory / "untrained-unet"
    with replace_directory(untrained) as draft:
        build_unet().save_pretrained(draft)
    assemble(directory / "encoding-pipeline", unet=untrained, vae=vae_directory)
    with Generator.open(directory / "encoding-pipeline", device=device) as generator:
        data = encode_reference(generator)
    write_tensors(latent_file, vars(data))


def finish_unet(weights: Path, output: Path) -> Path:
    """Save the trained UNet in fp16.

    Args:
        weights: Safetensors file of averaged weights.
        output: Diffusers directory to write.

    Returns:
        `output`.
    """
    unet = build_unet()
    unet.load_state_dict(load_file(weights))
    with replace_directory(output) as draft:
        unet.half().save_pretrained(draft)
    return output
