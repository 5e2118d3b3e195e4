"""Tiny pipelines with random weights in the layout in which Stable Diffusion 1.5 is published.

The directories hold what the published one holds: configurations with the few settings that it names, the old
names of the VAE's attention, text weights with the prefix `text_model.`, a tokenizer of `vocab.json` and
`merges.txt`, and a safety checker, which here marks every picture, so that a test sees whether it was run.
"""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
from open_clip.tokenizer import bytes_to_unicode, default_bpe
from safetensors.torch import save_file
from torch import Tensor
from transformers import CLIPConfig, CLIPTextConfig, CLIPTextModel

TEXT_DIMENSION = 32
PROMPT_TOKENS = 77
_MERGES = 1200
_START, _END = "<|startoftext|>", "<|endoftext|>"
_OLD_ATTENTION = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
_SCHEDULER: dict[str, Any] = {
    "_class_name": "PNDMScheduler",
    "_diffusers_version": "0.6.0",
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "clip_sample": False,
    "num_train_timesteps": 1000,
    "set_alpha_to_one": False,
    "skip_prk_steps": True,
    "steps_offset": 1,
    "trained_betas": None,
}


def stable_diffusion_15(
    directory: Path,
    *,
    seed: int = 0,
    side: int = 32,
    prediction: str | None = None,
    channels: tuple[int, ...] = (16, 32),
    safety_checker: bool = True,
) -> Path:
    """Write a tiny pipeline directory in Stable Diffusion 1.5's layout.

    Args:
        directory: The directory to write; its parents are made.
        seed: Seed of the weights.
        side: Height and width of pictures in pixels, a multiple of 8.
        prediction: The scheduler's `prediction_type`; None: not named, as in 1.5, which means epsilon.
        channels: Channels of the UNet's levels; the last level is without cross-attention.
        safety_checker: Whether the directory has a safety checker, which marks every picture.

    Returns:
        `directory`.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        _write_unet(directory / "unet", side, channels)
        _write_vae(directory / "vae", side)
        _write_text_encoder(directory / "text_encoder")
        if safety_checker:
            _write_safety_checker(directory)
    _write_tokenizer(directory / "tokenizer")
    named = {} if prediction is None else {"prediction_type": prediction}
    _write_json(directory / "scheduler" / "scheduler_config.json", {**_SCHEDULER, **named})
    _write_json(directory / "model_index.json", _model_index(safety_checker))
    return directory


def _model_index(safety_checker: bool) -> dict[str, Any]:
    return {
        "_class_name": "StableDiffusionPipeline",
        "_diffusers_version": "0.6.0",
        "feature_extractor": ["transformers", "CLIPImageProcessor"] if safety_checker else [None, None],
        "safety_checker": ["stable_diffusion", "StableDiffusionSafetyChecker"]
        if safety_checker
        else [None, None],
        "scheduler": ["diffusers", "PNDMScheduler"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
    }


def _write_unet(directory: Path, side: int, channels: tuple[int, ...]) -> None:
    crossed = len(channels) - 1
    config: dict[str, Any] = {
        "act_fn": "silu",
        "attention_head_dim": 4,
        "block_out_channels": list(channels),
        "center_input_sample": False,
        "cross_attention_dim": TEXT_DIMENSION,
        "down_block_types": [*["CrossAttnDownBlock2D"] * crossed, "DownBlock2D"],
        "downsample_padding": 1,
        "flip_sin_to_cos": True,
        "freq_shift": 0,
        "in_channels": 4,
        "layers_per_block": 1,
        "mid_block_scale_factor": 1,
        "norm_eps": 1e-05,
        "norm_num_groups": 8,
        "out_channels": 4,
        "sample_size": side // 8,
        "up_block_types": ["UpBlock2D", *["CrossAttnUpBlock2D"] * crossed],
    }
    unet = UNet2DConditionModel.from_config(config)
    # An untrained output is faint and hardly depends on the prompt; here unlearning a picture moves losses.
    with torch.no_grad():
        unet.conv_out.weight.mul_(4.0)
        for name, weight in unet.named_parameters():
            if "attn2.to_out.0.weight" in name:
                weight.mul_(16.0)
    _write_part(directory, "UNet2DConditionModel", config, unet.state_dict())


def _write_vae(directory: Path, side: int) -> None:
    config: dict[str, Any] = {
        "act_fn": "silu",
        "block_out_channels": [8, 8, 8, 8],
        "down_block_types": ["DownEncoderBlock2D"] * 4,
        "in_channels": 3,
        "latent_channels": 4,
        "layers_per_block": 1,
        "norm_num_groups": 4,
        "out_channels": 3,
        "sample_size": side,
        "up_block_types": ["UpDecoderBlock2D"] * 4,
    }
    tensors = {
        _old_name(name): tensor for name, tensor in AutoencoderKL.from_config(config).state_dict().items()
    }
    _write_part(directory, "AutoencoderKL", config, tensors)


def _old_name(name: str) -> str:
    """The published name of a VAE's tensor, where today's attention has another one."""
    if ".attentions." in name:
        for today, old in _OLD_ATTENTION.items():
            name = name.replace(f".{today}.", f".{old}.")
    return name


def _write_part(directory: Path, name: str, config: dict[str, Any], tensors: dict[str, Tensor]) -> None:
    # To a UNet from before 0.9.0 with latents under 64 the pipeline gives latents of 64.
    _write_json(directory / "config.json", {"_class_name": name, "_diffusers_version": "0.9.0", **config})
    _save(directory / "diffusion_pytorch_model.safetensors", tensors)


def _write_text_encoder(directory: Path) -> None:
    config: dict[str, Any] = {
        "architectures": ["CLIPTextModel"],
        "attention_dropout": 0.0,
        "bos_token_id": 0,
        "dropout": 0.0,
        "eos_token_id": 2,
        "hidden_act": "quick_gelu",
        "hidden_size": TEXT_DIMENSION,
        "initializer_factor": 1.0,
        "initializer_range": 0.02,
        "intermediate_size": 2 * TEXT_DIMENSION,
        "layer_norm_eps": 1e-05,
        "max_position_embeddings": PROMPT_TOKENS,
        "model_type": "clip_text_model",
        "num_attention_heads": 4,
        "num_hidden_layers": 2,
        "pad_token_id": 1,
        "projection_dim": TEXT_DIMENSION,
        "torch_dtype": "float32",
        "transformers_version": "4.22.0.dev0",
        "vocab_size": len(_vocabulary(_merges())),
    }
    # Untrained embeddings hardly tell prompts apart: these are as loud as trained ones.
    model = CLIPTextModel(CLIPTextConfig(**{**config, "initializer_factor": 20.0}))
    tensors = {
        f"text_model.{name.removeprefix('text_model.')}": tensor
        for name, tensor in model.state_dict().items()
    }
    tensors["text_model.embeddings.position_ids"] = torch.arange(PROMPT_TOKENS)[None]
    _write_json(directory / "config.json", config)
    _save(directory / "model.safetensors", tensors)


def _write_safety_checker(directory: Path) -> None:
    tower = {"hidden_size": 8, "intermediate_size": 8, "num_attention_heads": 2, "num_hidden_layers": 1}
    config = CLIPConfig(
        vision_config={**tower, "image_size": 32, "patch_size": 16, "projection_dim": 8},
        text_config={**tower, "vocab_size": 8, "bos_token_id": 0, "eos_token_id": 1},
        projection_dim=8,
    )
    checker = StableDiffusionSafetyChecker(config)
    for threshold in (checker.concept_embeds_weights, checker.special_care_embeds_weights):
        threshold.data.fill_(-2.0)
    _write_json(directory / "safety_checker" / "config.json", config.to_dict())
    _save(directory / "safety_checker" / "model.safetensors", checker.state_dict())
    _write_json(
        directory / "feature_extractor" / "preprocessor_config.json",
        {"crop_size": 32, "feature_extractor_type": "CLIPFeatureExtractor", "size": 32},
    )


def _write_tokenizer(directory: Path) -> None:
    merges = _merges()
    _write_json(directory / "vocab.json", _vocabulary(merges))
    (directory / "merges.txt").write_text("\n".join(["#version: 0.2", *merges]) + "\n", encoding="utf-8")
    special = {"bos_token": _START, "eos_token": _END, "pad_token": _END, "unk_token": _END}
    _write_json(directory / "special_tokens_map.json", special)
    _write_json(
        directory / "tokenizer_config.json",
        {
            **special,
            "add_prefix_space": False,
            "do_lower_case": True,
            "model_max_length": PROMPT_TOKENS,
            "tokenizer_class": "CLIPTokenizer",
        },
    )


def _merges() -> list[str]:
    """The first merges of CLIP's byte-pair encoding, which open_clip brings."""
    lines = gzip.decompress(Path(default_bpe()).read_bytes()).decode().split("\n")
    return lines[1 : _MERGES + 1]


def _vocabulary(merges: list[str]) -> dict[str, int]:
    letters = list(bytes_to_unicode().values())
    joined = [merge.replace(" ", "") for merge in merges]
    words = [*letters, *(f"{letter}</w>" for letter in letters), *joined, _START, _END]
    return {word: number for number, word in enumerate(words)}


def _save(path: Path, tensors: dict[str, Tensor]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(
        {name: tensor.contiguous() for name, tensor in tensors.items()}, path, metadata={"format": "pt"}
    )


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")
