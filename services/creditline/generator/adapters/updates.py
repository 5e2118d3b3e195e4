"""Low-rank updates of layers: an adapter's tensors, paired by layer and checked against the pipeline."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from creditline.errors import InvalidInput
from creditline.generator.adapters.files import AdapterFile
from creditline.generator.adapters.spelling import Key, Role, parse_key, refuse_relatives
from creditline.generator.parts.naming import TEXT_PREFIX, some

PARTS = ("unet", "text_encoder")
# Names of a text encoder's attention in diffusers' old files, and today's.
_OLD_TEXT = {"to_q": "q_proj", "to_k": "k_proj", "to_v": "v_proj", "to_out": "out_proj"}


@dataclass(frozen=True)
class LowRankUpdate:
    """The change of one layer's weight: factor · up · (mid ·) down."""

    part: str
    """Part of the pipeline: "unet" or "text_encoder"."""
    layer: str
    """Name of the layer in the part."""
    down: Tensor
    """(rank, in) float32, or (rank, in · height · width) where the kernel is not in `mid`."""
    up: Tensor
    """(out, rank) float32."""
    mid: Tensor | None
    """(rank, rank, height, width) float32, the kernel of a convolution in kohya's LoCon; None: none."""
    factor: float
    """strength · alpha / rank of this layer."""

    def change(self, shape: tuple[int, ...]) -> Tensor:
        """The change of a weight of the given shape, float32."""
        if self.mid is None:
            return (self.factor * (self.up @ self.down)).view(shape)
        return self.factor * torch.einsum("oi,ijhw,jn->onhw", self.up, self.mid, self.down)


def layers_of(pipeline: Any) -> dict[str, dict[str, nn.Linear | nn.Conv2d]]:
    """Linear and convolutional layers of the parts that adapters change, by part and name."""
    return {
        part: {
            name: module
            for name, module in getattr(pipeline, part).named_modules()
            if isinstance(module, nn.Linear | nn.Conv2d)
        }
        for part in PARTS
    }


def updates_of(
    adapter: AdapterFile, strength: float, layers: Mapping[str, Mapping[str, nn.Linear | nn.Conv2d]]
) -> list[LowRankUpdate]:
    """The updates of an adapter, sorted by part and layer; every key of the file is used.

    Args:
        adapter: The adapter.
        strength: Factor of the whole adapter.
        layers: The pipeline's layers, as `layers_of` returns them.

    Raises:
        InvalidInput: The adapter is no LoRA, a key or a layer is unknown, a pair is not whole, a shape does
            not fit its layer, an alpha is not above 0, or a number is NaN or infinite.
    """
    refuse_relatives(adapter.tensors, adapter.path)
    grouped = _grouped(adapter, layers)
    return [
        _update(adapter, part, layer, grouped[part, layer], layers[part][layer], strength)
        for part, layer in sorted(grouped)
    ]


def _grouped(
    adapter: AdapterFile, layers: Mapping[str, Mapping[str, nn.Module]]
) -> dict[tuple[str, str], dict[Role, tuple[str, Tensor]]]:
    """Key and tensor of each role, by part and layer."""
    parsed = {name: parse_key(name) for name in adapter.tensors}
    unread = [name for name, key in parsed.items() if key is None]
    if unread:
        raise InvalidInput(
            f"{adapter.path} holds {some(unread)}, which are no keys of LoRA in the spellings of diffusers,"
            " peft or kohya; nothing of an adapter is left out in silence: remove them, or give another file",
            field="adapters",
        )
    flattened = {part: {name.replace(".", "_"): name for name in named} for part, named in layers.items()}
    grouped: dict[tuple[str, str], dict[Role, tuple[str, Tensor]]] = {}
    foreign = []
    for name, key in parsed.items():
        place = None if key is None else _place(key, layers, flattened)
        if key is None or place is None:
            foreign.append(name)
            continue
        roles = grouped.setdefault(place, {})
        if key.role in roles:
            raise InvalidInput(
                f"{adapter.path} holds {roles[key.role][0]} and {name}, two tensors for one place; keep one"
                " of them",
                field="adapters",
            )
        roles[key.role] = (name, adapter.tensors[name])
    if foreign:
        raise InvalidInput(
            f"{adapter.path} names layers that this generator does not have ({some(foreign)}); give an"
            " adapter of the same base model",
            field="adapters",
        )
    return grouped


def _place(
    key: Key, layers: Mapping[str, Mapping[str, nn.Module]], flattened: Mapping[str, Mapping[str, str]]
) -> tuple[str, str] | None:
    """Part and name of the layer that a key spells; None where no part has it."""
    for part in PARTS if key.part is None else (key.part,):
        for spelling in _spellings(key.path, part, "_" if key.flattened else "."):
            name = flattened[part].get(spelling) if key.flattened else spelling
            if name in layers[part]:
                return part, str(name)
    return None


def _spellings(path: str, part: str, separator: str) -> Iterator[str]:
    """Names that today's modules may have for a layer."""
    yield path
    if part == "unet":
        yield f"{path}{separator}0"  # `to_out` is a list of a layer and a dropout.
        return
    prefix = TEXT_PREFIX.replace(".", separator)
    before, dot, last = path.rpartition(separator)
    todays = [path, f"{before}{dot}{_OLD_TEXT[last]}"] if last in _OLD_TEXT else [path]
    for old, new in _OLD_TEXT.items():
        if path.endswith(f"{separator}{old}"):
            todays.append(path.removesuffix(old) + new)
    for name in todays:
        yield name
        yield name.removeprefix(prefix) if name.startswith(prefix) else prefix + name


def _update(
    adapter: AdapterFile,
    part: str,
    layer: str,
    roles: Mapping[Role, tuple[str, Tensor]],
    module: nn.Linear | nn.Conv2d,
    strength: float,
) -> LowRankUpdate:
    _refuse_halves(adapter.path, part, layer, roles)
    tensors = {role: _number(adapter.path, *found) for role, found in roles.items()}
    down, up, mid = tensors["down"], tensors["up"], tensors.get("mid")
    rank = len(down)
    if not _fits(module, down, up, mid):
        shapes = ", ".join(f"{role} {tuple(tensors[role].shape)}" for role in roles if role != "alpha")
        raise InvalidInput(
            f"{adapter.path} does not fit {part} layer {layer}: its weight is {tuple(module.weight.shape)},"
            f" the adapter's {shapes}; give an adapter of the same base model",
            field="adapters",
        )
    scaling = adapter.scaling_of(part)
    stated = scaling.rank_of(layer)
    if stated is not None and stated != rank:
        raise InvalidInput(
            f"{adapter.path} has rank {rank} at {part} layer {layer}, but its configuration states {stated};"
            " give the file and the configuration that were saved together",
            field="adapters",
        )
    alpha = _alpha(adapter, part, layer, tensors.get("alpha"), rank)
    factor = strength * alpha / scaling.divisor(rank)
    return LowRankUpdate(part, layer, down.reshape(rank, -1), up.reshape(len(up), -1), mid, factor)


def _refuse_halves(path: Path, part: str, layer: str, roles: Mapping[Role, tuple[str, Tensor]]) -> None:
    lacking = [role for role in ("down", "up") if role not in roles]
    if lacking:
        raise InvalidInput(
            f"{path} holds {some(name for name, _ in roles.values())} for {part} layer {layer} without its"
            f" {' and '.join(lacking)} matrix; copy the file again",
            field="adapters",
        )


def _number(path: Path, name: str, tensor: Tensor) -> Tensor:
    """A tensor of the file in float32."""
    if not tensor.is_floating_point():
        raise InvalidInput(
            f"{name} in {path} is {str(tensor.dtype).removeprefix('torch.')}, not a float type; save the"
            " adapter in float16 or float32",
            field="adapters",
        )
    values = tensor.to(torch.float32)
    if not bool(values.isfinite().all()):
        raise InvalidInput(
            f"{name} in {path} holds NaN or infinite numbers; copy the file again, or train the adapter again"
            "",
            field="adapters",
        )
    return values


def _fits(module: nn.Linear | nn.Conv2d, down: Tensor, up: Tensor, mid: Tensor | None) -> bool:
    """Whether the factors' product has the shape of a layer's weight; a 1 × 1 kernel may be left out."""
    outputs, inputs, *kernel = module.weight.shape
    if down.ndim < 2 or up.ndim < 2 or not len(down) or up.numel() != outputs * len(down):
        return False
    if len(up) != outputs or (isinstance(module, nn.Conv2d) and module.groups != 1):
        return False
    if mid is not None:
        square = (len(down), len(down), *kernel)
        return len(kernel) == 2 and tuple(mid.shape) == square and down.numel() == len(down) * inputs
    wanted = kernel if math.prod(kernel) > 1 else [1] * (down.ndim - 2)
    return list(down.shape[1:]) == [inputs, *wanted]


def _alpha(adapter: AdapterFile, part: str, layer: str, tensor: Tensor | None, rank: int) -> float:
    """Alpha of a layer: of its own tensor, of the configuration, or the rank."""
    if tensor is not None and tensor.numel() != 1:
        raise InvalidInput(
            f"{adapter.path} has an alpha of shape {tuple(tensor.shape)} at {part} layer {layer}; it must be"
            " one number",
            field="adapters",
        )
    configured = adapter.scaling_of(part).alpha_of(layer)
    alpha = float(tensor) if tensor is not None else configured
    if alpha is None:
        return float(rank)
    if not 0.0 < alpha < math.inf:
        raise InvalidInput(
            f"{adapter.path} has alpha {alpha:g} at {part} layer {layer}, so that it changes nothing or not"
            " as it was trained; give an adapter whose alphas are above 0",
            field="adapters",
        )
    return alpha
