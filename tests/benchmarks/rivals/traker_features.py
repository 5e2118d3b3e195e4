"""Our works' features against traker's, in one process of an interpreter that has traker (see the package).

Features are per-sample gradients of the denoising loss, all weights of the lab's UNet, projected at random to
`SIZE` numbers by a Rademacher matrix. traker's fast projector is a CUDA kernel; on a CPU its fastest is
`BasicProjector`, whose block size is chosen here by time. Both see the same works at the same noise, one draw
each. Writes seconds by run as JSON to the standard output's last line.
"""

from __future__ import annotations

import json
import math
import sys
import time
from typing import Any

import torch
from trak.gradient_computers import FunctionalGradientComputer
from trak.modelout_functions import AbstractModelOutput
from trak.projectors import BasicProjector, ProjectionType

from creditline.attribution.gradients.parameters import chosen_layers
from creditline.attribution.gradients.per_sample import parameter_count, per_sample_gradients
from creditline.attribution.gradients.projection import Rademacher
from creditline.generator.losses import Draws, noisy_batch
from creditline.generator.pipeline import Generator
from tests.benchmarks.rivals.lab_works import lab_works

WORKS, SIZE, RUNS = 32, 2048, 3
DRAW = Draws(timesteps=1, repeats=1, salt="rival")
_BLOCKS = (100, 512)


class DenoisingLoss(AbstractModelOutput):
    """One noisy latent's squared error, as traker wants it: a number of one sample."""

    def __init__(self) -> None:
        super().__init__()

    @staticmethod
    def get_output(
        model: torch.nn.Module,
        weights: dict[str, torch.Tensor],
        buffers: dict[str, torch.Tensor],
        *sample: torch.Tensor,
    ) -> torch.Tensor:
        noisy, timestep, text, target, noise_error = sample
        predicted = torch.func.functional_call(
            model, (weights, buffers), args=(noisy[None], timestep, text[None])
        ).sample
        return noise_error * (predicted[0] - target).square().mean()

    def get_out_to_loss_grad(self, *arguments: Any) -> torch.Tensor:
        raise NotImplementedError("features need none")


def theirs(generator: Generator, batch: tuple[torch.Tensor, ...], block: int) -> float:
    """Seconds for all works."""
    width = sum(parameter.numel() for parameter in generator.unet.parameters())
    computer = FunctionalGradientComputer(
        generator.unet, DenoisingLoss(), grad_dim=width, dtype=torch.float32, device="cpu"
    )
    started = time.perf_counter()
    projector = BasicProjector(
        width, SIZE, seed=0, proj_type=ProjectionType.rademacher, device="cpu", block_size=block
    )
    features = projector.project(computer.compute_per_sample_grad(batch), model_id=0)
    assert features.shape == (WORKS, SIZE)
    return time.perf_counter() - started


def ours(generator: Generator, examples: Any) -> float:
    """Seconds for all works."""
    layers = chosen_layers(generator.unet, "all")
    started = time.perf_counter()
    rows = per_sample_gradients(generator, examples, DRAW, layers)
    features = Rademacher(parameter_count(layers), SIZE, seed=0).project(rows)
    assert features.shape == (WORKS, SIZE)
    return time.perf_counter() - started


def main() -> None:
    torch.set_num_threads(1)
    with lab_works(WORKS) as (generator, examples):
        noisy = noisy_batch(generator, examples, DRAW)
        batch = (noisy.inputs, noisy.timesteps, noisy.text, noisy.targets, noisy.noise_error)
        for parameter in generator.unet.parameters():
            parameter.requires_grad_(True)
        block = min(_BLOCKS, key=lambda size: theirs(generator, batch, size))
        seconds: dict[str, list[float]] = {"ours": [], "theirs": []}
        for _ in range(RUNS):
            seconds["theirs"].append(theirs(generator, batch, block))
            seconds["ours"].append(ours(generator, examples))
    json.dump({**seconds, "works": WORKS, "size": SIZE, "block": block}, sys.stdout)
    assert all(math.isfinite(value) for values in seconds.values() for value in values)


if __name__ == "__main__":
    main()
