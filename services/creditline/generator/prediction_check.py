"""Whether a UNet predicts what its scheduler says that it does."""

from __future__ import annotations

from dataclasses import replace

import torch

from creditline.errors import InvalidInput
from creditline.generator.layout_checks import PREDICTIONS
from creditline.generator.losses import Draws, Examples, noisy_batch
from creditline.generator.pipeline import Generator

# Enough to tell the two apart on a UNet that has learnt anything at all.
_DRAWS, _EXAMPLES, _CLEARLY = Draws(timesteps=10, salt="prediction"), 8, 0.5


@torch.no_grad()
def refuse_other_prediction(generator: Generator, works: Examples) -> None:
    """Raises InvalidInput when the UNet plainly predicts the other thing than its scheduler says.

    works: of the training set; a few of them are denoised once. An untrained UNet passes.
    """
    few = works.rows(range(min(_EXAMPLES, len(works))))
    batch = noisy_batch(generator, few, _DRAWS)
    predicted = generator.unet(batch.inputs, batch.timesteps, batch.text).sample
    said = generator.noising.prediction
    other = next(kind for kind in PREDICTIONS if kind != said)
    latents = few.latents.repeat_interleave(len(_DRAWS), dim=0)
    noise = torch.cat([_DRAWS.noise(name, tuple(few.latents.shape[1:])) for name in few.ids])
    target = replace(generator.noising, prediction=other).target(
        latents, noise.to(latents.device), batch.timesteps
    )
    own, others = float(batch.squared_errors(predicted).mean()), float((predicted - target).square().mean())
    if others < _CLEARLY * own:
        raise InvalidInput(
            f"the scheduler in {generator.directory} says {said}, but the UNet predicts {other} (error"
            f" {own:.3g} against {others:.3g}); set prediction_type to {other} in scheduler_config.json",
            field="prediction_type",
        )
