"""Whether a pipeline's parts are there and fit one another; each refusal says what to put right."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from creditline.errors import InvalidInput

_CONFIGS = {
    "unet": "config.json",
    "vae": "config.json",
    "text_encoder": "config.json",
    "scheduler": "scheduler_config.json",
}
PREDICTIONS = ("epsilon", "v_prediction")


def refuse_unusable(directory: Path) -> None:
    """Raises InvalidInput when a pipeline's parts are missing or do not fit one another."""
    configs = {part: _config(directory, part) for part in _CONFIGS}
    unet, vae, text = configs["unet"], configs["vae"], configs["text_encoder"]
    channels, latents = unet.get("in_channels"), vae.get("latent_channels")
    if channels != latents:
        raise InvalidInput(
            f"the UNet in {directory} takes latents of {channels} channels, its VAE makes {latents}; put the"
            " VAE there that the UNet was trained with",
            field="generator",
        )
    wanted, width = unet.get("cross_attention_dim"), text.get("hidden_size")
    if None not in (wanted, width) and wanted != width:
        raise InvalidInput(
            f"the UNet in {directory} listens to texts of width {wanted}, its text encoder gives {width}; put"
            " the text encoder there that the UNet was trained with",
            field="generator",
        )
    prediction = configs["scheduler"].get("prediction_type", "epsilon")
    if prediction not in PREDICTIONS:
        raise InvalidInput(
            f"the scheduler in {directory} says that the UNet predicts {prediction!r}; only"
            f" {' and '.join(PREDICTIONS)} are understood",
            field="prediction_type",
        )


def _config(directory: Path, part: str) -> dict[str, Any]:
    path = directory / part / _CONFIGS[part]
    try:
        found: dict[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise InvalidInput(
            f"the pipeline in {directory} has no {part} that can be read ({path.name}: {error}); a"
            " StableDiffusionPipeline has unet, vae, text_encoder, tokenizer and scheduler",
            field="generator",
        ) from None
    return found
