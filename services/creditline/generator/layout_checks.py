"""Checks that the parts of a pipeline directory exist and fit each other; each error states the remedy."""

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
    """Check the configuration files of a pipeline directory.

    Raises:
        InvalidInput: A part is missing, the parts do not fit each other, or the prediction type is unknown.
    """
    configs = {part: _config(directory, part) for part in _CONFIGS}
    unet, vae, text = configs["unet"], configs["vae"], configs["text_encoder"]
    channels, latents = unet.get("in_channels"), vae.get("latent_channels")
    if channels != latents:
        raise InvalidInput(
            f"the UNet in {directory} takes latents of {channels} channels, but its VAE makes {latents}; use"
            " the VAE that the UNet was trained with",
            field="generator",
        )
    expected, width = unet.get("cross_attention_dim"), text.get("hidden_size")
    if None not in (expected, width) and expected != width:
        raise InvalidInput(
            f"the UNet in {directory} takes text vectors of dimension {expected}, but its text encoder gives"
            f" {width}; use the text encoder that the UNet was trained with",
            field="generator",
        )
    prediction = configs["scheduler"].get("prediction_type", "epsilon")
    if prediction not in PREDICTIONS:
        raise InvalidInput(
            f"the scheduler in {directory} has prediction_type {prediction!r}; only"
            f" {' and '.join(PREDICTIONS)} are supported",
            field="prediction_type",
        )


def _config(directory: Path, part: str) -> dict[str, Any]:
    path = directory / part / _CONFIGS[part]
    try:
        config: dict[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise InvalidInput(
            f"the pipeline in {directory} has no readable {part} ({path.name}: {error}); a"
            " StableDiffusionPipeline has unet, vae, text_encoder, tokenizer and scheduler",
            field="generator",
        ) from None
    return config
