"""Checks that the parts of a pipeline fit each other; each error states both sides and the remedy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from creditline.errors import InvalidInput

# Further inputs of a UNet, which no part of a text-to-image pipeline gives it.
_FURTHER_INPUTS = ("addition_embed_type", "class_embed_type", "encoder_hid_dim_type", "encoder_hid_dim")


def refuse_misfits(directory: Path, *, unet: Any, vae: Any, text_encoder: Any, tokenizer: Any) -> None:
    """Check that the parts fit each other, by their configurations.

    Raises:
        InvalidInput: Two parts do not fit each other, or the UNet needs inputs that no part gives.
    """
    _refuse_other_latents(directory, unet.config, vae.config)
    _refuse_other_texts(directory, unet.config, text_encoder.config)
    _refuse_other_vocabulary(directory, text_encoder.config, tokenizer)
    further = [name for name in _FURTHER_INPUTS if unet.config.get(name) is not None]
    if further:
        raise InvalidInput(
            f"{directory / 'unet' / 'config.json'} states {', '.join(further)}: the UNet needs inputs beside"
            " the prompt, which the pipelines of Stable Diffusion 1.x and 2.x do not have",
            field="generator",
        )


@torch.no_grad()
def refuse_other_text_vectors(directory: Path, pipeline: Any) -> None:
    """Encode an empty prompt, and check that the UNet can take its vectors.

    Raises:
        InvalidInput: The text encoder gives other vectors, such as projected ones, or fails.
    """
    expected = (1, pipeline.tokenizer.model_max_length, pipeline.text_encoder.config.hidden_size)
    try:
        tokens = pipeline.tokenizer([""], padding="max_length", truncation=True, return_tensors="pt")
        found: object = tuple(pipeline.text_encoder(tokens.input_ids)[0].shape)
    except Exception as error:  # whatever a foreign text encoder raises
        found = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
    if found != expected:
        raise InvalidInput(
            f"the text encoder in {directory / 'text_encoder'} ({type(pipeline.text_encoder).__name__}) gives"
            f" {found} for a prompt, but the UNet takes vectors of shape {expected}, one for each token; use"
            " the text encoder that the UNet was trained with",
            field="generator",
        )


def _refuse_other_latents(directory: Path, unet: Any, vae: Any) -> None:
    if unet.in_channels != vae.latent_channels:
        raise InvalidInput(
            f"the UNet in {directory} takes latents of {unet.in_channels} channels, but its VAE makes"
            f" {vae.latent_channels}; use the VAE that the UNet was trained with",
            field="generator",
        )
    if unet.out_channels != unet.in_channels:
        raise InvalidInput(
            f"the UNet in {directory} takes latents of {unet.in_channels} channels, but predicts"
            f" {unet.out_channels}; a UNet of text-to-image predicts as many as it takes",
            field="generator",
        )
    if not isinstance(unet.sample_size, int):
        raise InvalidInput(
            f"{directory / 'unet' / 'config.json'} has sample_size {unet.sample_size}; one number, the"
            " side of square latents, is supported",
            field="generator",
        )


def _refuse_other_texts(directory: Path, unet: Any, text: Any) -> None:
    stated = unet.cross_attention_dim
    expected = set(stated) if isinstance(stated, (list, tuple)) else {stated}
    if expected != {text.hidden_size}:
        raise InvalidInput(
            f"the UNet in {directory} takes text vectors of dimension"
            f" {' and '.join(map(str, sorted(expected)))}, but its text encoder gives {text.hidden_size}; use"
            " the text encoder that the UNet was trained with",
            field="generator",
        )


def _refuse_other_vocabulary(directory: Path, text: Any, tokenizer: Any) -> None:
    positions = getattr(text, "max_position_embeddings", None)
    if len(tokenizer) > text.vocab_size:
        raise InvalidInput(
            f"the tokenizer in {directory} has {len(tokenizer)} words, but its text encoder knows"
            f" {text.vocab_size}; use the tokenizer that the text encoder was trained with (after textual"
            " inversion: save both)",
            field="generator",
        )
    if positions is not None and tokenizer.model_max_length > positions:
        raise InvalidInput(
            f"the tokenizer in {directory} gives up to {tokenizer.model_max_length} tokens, but its text"
            f" encoder takes {positions}; set model_max_length in tokenizer_config.json",
            field="generator",
        )
