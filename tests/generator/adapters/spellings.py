"""LoRA adapters of random numbers, written as each tool spells them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

LAYERS = {
    "unet": (
        "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q",
        "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k",
        "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_out.0",
        "down_blocks.0.attentions.0.proj_in",
        "down_blocks.0.resnets.0.conv1",
    ),
    "text_encoder": ("encoder.layers.0.self_attn.q_proj", "encoder.layers.1.mlp.fc1"),
}


@dataclass(frozen=True)
class Pair:
    """The factors of one layer."""

    down: Tensor
    up: Tensor
    alpha: float


Pairs = dict[tuple[str, str], Pair]


def random_pairs(layers: Mapping[tuple[str, str], nn.Module], *, seed: int = 0) -> Pairs:
    """Factors whose ranks and alphas differ from layer to layer."""
    draw = torch.Generator().manual_seed(seed)
    pairs = {}
    for number, (place, layer) in enumerate(layers.items()):
        outputs, inputs, *kernel = layer.weight.shape
        rank = 2 + number % 3
        down = torch.randn((rank, inputs, *kernel), generator=draw) * 0.1
        up = torch.randn((outputs, rank, *(1 for _ in kernel)), generator=draw) * 0.1
        pairs[place] = Pair(down, up, 1.0 + number)
    return pairs


def kohya(pairs: Pairs, directory: Path) -> Path:
    prefix = {"unet": "lora_unet_", "text_encoder": "lora_te_text_model_"}
    tensors = {}
    for (part, layer), pair in pairs.items():
        name = prefix[part] + layer.replace(".", "_")
        tensors |= {f"{name}.lora_down.weight": pair.down, f"{name}.lora_up.weight": pair.up}
        tensors[f"{name}.alpha"] = torch.tensor(pair.alpha)
    return _saved(tensors, directory / "kohya.safetensors")


def diffusers(pairs: Pairs, directory: Path) -> Path:
    return _dotted(pairs, directory / "diffusers.safetensors", "lora_A.weight", "lora_B.weight", "alpha")


def diffusers_before_peft(pairs: Pairs, directory: Path) -> Path:
    return _dotted(
        pairs, directory / "before.safetensors", "lora.down.weight", "lora.up.weight", "lora.alpha"
    )


def _dotted(pairs: Pairs, path: Path, down: str, up: str, alpha: str) -> Path:
    prefix = {"unet": "unet.", "text_encoder": "text_encoder.text_model."}
    tensors = {}
    for (part, layer), pair in pairs.items():
        name = prefix[part] + layer
        tensors |= {f"{name}.{down}": pair.down, f"{name}.{up}": pair.up}
        tensors[f"{name}.{alpha}"] = torch.tensor(pair.alpha)
    return _saved(tensors, path)


def old_processors(pairs: Pairs, directory: Path) -> Path:
    """Attention layers of the UNet alone, as a pickled file; the form has no other layers."""
    tensors = {}
    for (_, layer), pair in pairs.items():
        block, _, last = layer.removesuffix(".0").rpartition(".")
        name = f"{block}.processor.{last}_lora"
        tensors |= {f"{name}.down.weight": pair.down, f"{name}.up.weight": pair.up}
        tensors[f"{name}.down.weight.alpha"] = torch.tensor(pair.alpha)
    torch.save(tensors, directory / "pytorch_lora_weights.bin")
    return directory


def peft(pairs: Pairs, directory: Path, **settings: object) -> Path:
    """Layers of one part; alphas and ranks are in the configuration."""
    tensors = {}
    for (_, layer), pair in pairs.items():
        tensors[f"base_model.model.{layer}.lora_A.weight"] = pair.down
        tensors[f"base_model.model.{layer}.lora_B.weight"] = pair.up
    first, *others = pairs.items()
    config = {
        "peft_type": "LORA",
        "r": len(first[1].down),
        "lora_alpha": first[1].alpha,
        "rank_pattern": {layer: len(pair.down) for (_, layer), pair in others},
        "alpha_pattern": {layer: pair.alpha for (_, layer), pair in others},
        **settings,
    }
    folder = directory / "peft"
    folder.mkdir()
    (folder / "adapter_config.json").write_text(json.dumps(config))
    _saved(tensors, folder / "adapter_model.safetensors")
    return folder


def attention_only(pairs: Pairs) -> Pairs:
    return {place: pair for place, pair in pairs.items() if ".attn" in place[1]}


def part_only(part: str) -> Callable[[Pairs], Pairs]:
    return lambda pairs: {place: pair for place, pair in pairs.items() if place[0] == part}


def _saved(tensors: dict[str, Tensor], path: Path) -> Path:
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path)
    return path
