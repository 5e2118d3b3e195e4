"""Adapter files: their tensors, and the configuration that peft and diffusers save with them."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import safe_open
from torch import Tensor

from creditline.errors import InvalidInput, NotReady
from creditline.generator.adapters.spelling import PEFT_PREFIX
from creditline.generator.parts.naming import some
from creditline.generator.parts.weight_files import read_file

_NAMES = (
    "adapter_model.safetensors",
    "pytorch_lora_weights.safetensors",
    "adapter_model.bin",
    "pytorch_lora_weights.bin",
)
_CONFIG = "adapter_config.json"
# Entry of a safetensors header in which diffusers saves peft's configuration of each part.
_METADATA = "lora_adapter_metadata"
# Ways of initialising LoRA that leave the base's weights as they are; others are relative to a changed base.
_HARMLESS_STARTS = (True, False, None, "gaussian", "eva", "orthogonal")


@dataclass(frozen=True)
class Scaling:
    """Scale of an adapter's layers as peft's configuration states it; without one it is in the tensors."""

    rank: int | None = None
    """Rank of layers outside `ranks`; None: not stated."""
    alpha: float | None = None
    """Alpha of layers outside `alphas`; None: not stated."""
    ranks: Mapping[str, int] = field(default_factory=dict)
    """Ranks by a pattern of the layer's name."""
    alphas: Mapping[str, float] = field(default_factory=dict)
    """Alphas by a pattern of the layer's name."""
    by_root: bool = False
    """Whether alpha is divided by the root of the rank (rsLoRA)."""

    def rank_of(self, layer: str) -> int | None:
        """The stated rank of a layer."""
        return _of(self.ranks, layer, self.rank)

    def alpha_of(self, layer: str) -> float | None:
        """The stated alpha of a layer."""
        return _of(self.alphas, layer, self.alpha)

    def divisor(self, rank: int) -> float:
        """What alpha is divided by."""
        return math.sqrt(rank) if self.by_root else float(rank)


@dataclass(frozen=True)
class AdapterFile:
    """An adapter as stored."""

    path: Path
    """The file of the tensors."""
    tensors: Mapping[str, Tensor]
    """The tensors by key, in the file's dtype."""
    scaling: Mapping[str, Scaling]
    """Configured scales by part of the pipeline ("unet", "text_encoder"); "" for any part."""

    def scaling_of(self, part: str) -> Scaling:
        """The configured scale of a part's layers."""
        return self.scaling.get(part) or self.scaling.get("") or Scaling()


def read_adapter(path: Path) -> AdapterFile:
    """Read an adapter.

    Args:
        path: A file, or a directory that peft or diffusers saved.

    Raises:
        NotReady: There is no such file, or no adapter in the directory.
        InvalidInput: The file is damaged or holds more than tensors, its configuration is damaged or not that
            of plain LoRA, or keys of peft come without their configuration.
    """
    file = _file_of(path)
    tensors = {name: stored.tensor for name, stored in read_file(file).items()}
    if not tensors:
        raise InvalidInput(f"{file} holds no tensors; give the file of a LoRA adapter", field="adapters")
    config = file.parent / _CONFIG
    is_peft = any(name.startswith(PEFT_PREFIX) for name in tensors)
    if is_peft and not config.is_file():
        raise InvalidInput(
            f"{file} has keys of peft, whose scale (lora_alpha) is in {_CONFIG}, which is not beside it; give"
            " the directory that peft saved",
            field="adapters",
        )
    if is_peft:
        return AdapterFile(file, tensors, {"": _scaling(_json(config.read_text(), config), config)})
    return AdapterFile(file, tensors, _by_part(_metadata(file), file))


def _file_of(path: Path) -> Path:
    if path.is_file():
        return path
    found = [path / name for name in _NAMES if (path / name).is_file()]
    if not found:
        raise NotReady(
            f"there is no adapter at {path}; give a .safetensors or .bin file, or a directory that holds one"
            f" of {', '.join(_NAMES)}",
            field="adapters",
        )
    return found[0]


def _metadata(path: Path) -> dict[str, str]:
    """The metadata of a safetensors file that can be read; none for any other file."""
    if path.suffix != ".safetensors":
        return {}
    with safe_open(path, framework="pt") as opened:
        return dict(opened.metadata() or {})


def _by_part(metadata: Mapping[str, str], path: Path) -> dict[str, Scaling]:
    """The configurations of diffusers' parts, whose names are prefixed by the part."""
    if _METADATA not in metadata:
        return {}
    configured = _json(metadata[_METADATA], path)
    found: dict[str, Scaling] = {}
    for part in ("unet", "text_encoder"):
        prefix = f"{part}."
        settings = {
            name.removeprefix(prefix): value for name, value in configured.items() if name.startswith(prefix)
        }
        if settings:
            found[part] = _scaling(settings, path)
    return found


def _json(text: str, path: Path) -> dict[str, Any]:
    try:
        content = json.loads(text)
    except ValueError as error:
        raise InvalidInput(f"the configuration in {path} is damaged ({error}); copy it again") from None
    if not isinstance(content, dict):
        raise InvalidInput(f"the configuration in {path} is no JSON object; copy it again", field="adapters")
    return content


def _scaling(config: Mapping[str, Any], path: Path) -> Scaling:
    _refuse_other_kinds(config, path)
    try:
        scaling = Scaling(
            rank=None if config.get("r") is None else int(config["r"]),
            alpha=None if config.get("lora_alpha") is None else float(config["lora_alpha"]),
            ranks={key: int(value) for key, value in (config.get("rank_pattern") or {}).items()},
            alphas={key: float(value) for key, value in (config.get("alpha_pattern") or {}).items()},
            by_root=bool(config.get("use_rslora", False)),
        )
        for pattern in (*scaling.ranks, *scaling.alphas):
            re.compile(pattern)
    except (TypeError, ValueError, AttributeError, re.error) as error:
        raise InvalidInput(
            f"the configuration in {path} has a rank, an alpha or a pattern that cannot be read ({error});"
            " copy it again",
            field="adapters",
        ) from None
    return scaling


def _refuse_other_kinds(config: Mapping[str, Any], path: Path) -> None:
    kind = config.get("peft_type", "LORA")
    start = config.get("init_lora_weights")
    others = {
        f"peft_type {kind}": kind != "LORA",
        "use_dora": bool(config.get("use_dora")),
        "fan_in_fan_out": bool(config.get("fan_in_fan_out")),
        "lora_bias": bool(config.get("lora_bias")),
        f"init_lora_weights {start}, which is relative to a changed base": start not in _HARMLESS_STARTS,
    }
    named = [name for name, present in others.items() if present]
    if named:
        raise InvalidInput(
            f"the configuration in {path} is not that of plain LoRA ({some(named)}), which alone is"
            " supported; merge it into the weights with the tool that made it, and give the merged pipeline",
            field="adapters",
        )


def _of(patterns: Mapping[str, Any], layer: str, default: Any) -> Any:
    """The value of the first pattern that a layer's name ends with, as peft chooses it."""
    for pattern, value in patterns.items():
        if re.match(rf"(.*\.)?({pattern})$", layer):
            return value
    return default
