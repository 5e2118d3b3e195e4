"""A check that a UNet predicts the quantity that its scheduler is configured for."""

from __future__ import annotations

from dataclasses import replace

import torch

from creditline.errors import InvalidInput
from creditline.generator.layout_checks import PREDICTIONS
from creditline.generator.losses import Draws, Examples, noisy_batch
from creditline.generator.pipeline import Generator

# Enough to distinguish the two prediction types for any UNet that has been trained at all.
_DRAWS, _EXAMPLES = Draws(timesteps=10, salt="prediction"), 8
# The check fails where the error under the other prediction type is below this part of the error under the
# configured one.
_ERROR_RATIO = 0.5


@torch.no_grad()
def refuse_other_prediction(generator: Generator, works: Examples) -> None:
    """Check the prediction type of a generator by denoising a few works once; an untrained UNet passes.

    Args:
        generator: The generator.
        works: Works of its training set, on its device.

    Raises:
        InvalidInput: The UNet clearly predicts another quantity than the scheduler is configured for.
    """
    few = works.rows(range(min(_EXAMPLES, len(works))))
    batch = noisy_batch(generator, few, _DRAWS)
    predicted = generator.unet(batch.inputs, batch.timesteps, batch.text).sample
    configured = generator.noising.prediction
    other = next(kind for kind in PREDICTIONS if kind != configured)
    latents = few.latents.repeat_interleave(len(_DRAWS), dim=0)
    noise = torch.cat([_DRAWS.noise(name, tuple(few.latents.shape[1:])) for name in few.ids])
    target = replace(generator.noising, prediction=other).target(
        latents, noise.to(latents.device), batch.timesteps
    )
    own, others = float(batch.squared_errors(predicted).mean()), float((predicted - target).square().mean())
    if others < _ERROR_RATIO * own:
        raise InvalidInput(
            f"the scheduler in {generator.directory} is configured for {configured}, but the UNet predicts"
            f" {other} (error {own:.3g} as {configured}, {others:.3g} as {other}); set prediction_type to"
            f" {other} in scheduler_config.json",
            field="prediction_type",
        )
