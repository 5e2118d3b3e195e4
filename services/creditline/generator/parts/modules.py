"""Torch modules of a pipeline directory, each built from its configuration and filled from its files alone.

A module is built without storage (on the meta device) and then given the tensors of its files by name, so no
weight can keep a value that no file holds. diffusers and transformers, which fill gaps with untrained values,
would only log them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from accelerate import init_empty_weights
from torch import Tensor

from creditline.errors import InvalidInput
from creditline.generator.parts.model_index import read_part_json
from creditline.generator.parts.naming import (
    TEXT_PREFIX,
    is_adapter_name,
    is_computed,
    some,
    todays_name,
)
from creditline.generator.parts.weight_files import Stored, read_weights

_CONFIG = "config.json"


def empty_module(folder: Path, kind: Any) -> Any:
    """Build one of a pipeline's models from its configuration, with parameters that have no storage.

    Args:
        folder: Folder of the part.
        kind: Class of the model, of diffusers or transformers.

    Raises:
        InvalidInput: The configuration is missing or is not one of the class.
    """
    config = read_part_json(folder, _CONFIG)
    try:
        with init_empty_weights(include_buffers=False):
            if getattr(kind, "config_class", None) is not None:
                return kind(kind.config_class.from_pretrained(folder, local_files_only=True))
            return kind.from_config(config)
    except Exception as error:  # constructors raise what they like for a configuration that is not theirs
        raise InvalidInput(
            f"{folder / _CONFIG} is no configuration of a {kind.__name__}"
            f" ({type(error).__name__}: {some(str(error).splitlines()[:1])}); use the file that belongs to"
            " the weights",
            field="generator",
        ) from error


def fill(module: Any, folder: Path, *, copy: bool = True) -> Any:
    """Give an empty module the weights of its folder in float32, for inference.

    Args:
        module: The module, see `empty_module`.
        folder: Folder of the part.
        copy: Whether tensors are copied even where the file has float32; otherwise they may be views of the
            file, which must then stay unchanged.

    Returns:
        `module`, frozen and in evaluation mode.

    Raises:
        InvalidInput: Weights are missing, do not belong to the module, or are not finite.
    """
    kind, expected = type(module), module.state_dict()
    stored = _by_todays_name(folder, kind, expected, read_weights(folder))
    _refuse_gaps(folder, kind, expected, stored)
    tensors = {name: found.tensor.to(torch.float32, copy=copy) for name, found in stored.items()}
    _refuse_not_finite(stored, tensors)
    module.load_state_dict(tensors, strict=True, assign=True)
    return module.requires_grad_(False).eval()


def _by_todays_name(
    folder: Path, kind: Any, expected: Mapping[str, Tensor], stored: Mapping[str, Stored]
) -> dict[str, Stored]:
    prefixes = {
        TEXT_PREFIX,
        f"{prefix}." if (prefix := getattr(kind, "base_model_prefix", "")) else TEXT_PREFIX,
    }
    found: dict[str, Stored] = {}
    foreign: list[str] = []
    for name, one in stored.items():
        today = todays_name(name, expected, prefixes=prefixes)
        if today is not None and today not in found:
            found[today] = one
        elif today is not None or not is_computed(name):
            foreign.append(name)
    if foreign:
        raise InvalidInput(_foreign(folder, kind, foreign, stored[foreign[0]].file), field="generator")
    return found


def _foreign(folder: Path, kind: Any, names: list[str], file: Path) -> str:
    if adapters := [name for name in names if is_adapter_name(name)]:
        return (
            f"{file} holds tensors of an adapter that is not merged into the weights ({some(adapters)});"
            f" merge it and save the {folder.name} again"
        )
    return (
        f"{file} holds tensors that the {kind.__name__} of {folder.name}/{_CONFIG} does not have"
        f" ({some(names)}); use the weights that belong to the configuration"
    )


def _refuse_gaps(
    folder: Path, kind: Any, expected: Mapping[str, Tensor], stored: Mapping[str, Stored]
) -> None:
    missing = [name for name in expected if name not in stored]
    files = sorted({found.file.name for found in stored.values()})
    where = folder / files[0] if len(files) == 1 else folder
    if missing:
        raise InvalidInput(
            f"{where} lacks {len(missing)} of the {len(expected)} tensors of the {kind.__name__} of"
            f" {folder.name}/{_CONFIG} ({some(missing)}); use the weights that belong to the configuration",
            field="generator",
        )
    other = [
        f"{name} of {tuple(found.tensor.shape)} instead of {tuple(expected[name].shape)}"
        for name, found in stored.items()
        if found.tensor.shape != expected[name].shape
    ]
    other += [
        f"{name} of {str(found.tensor.dtype).removeprefix('torch.')}"
        for name, found in stored.items()
        if expected[name].is_floating_point() and not found.tensor.is_floating_point()
    ]
    if other:
        raise InvalidInput(
            f"{where} holds tensors of another shape or kind than {folder.name}/{_CONFIG} states"
            f" ({some(other)}); use the weights that belong to the configuration",
            field="generator",
        )


def _refuse_not_finite(stored: Mapping[str, Stored], tensors: Mapping[str, Tensor]) -> None:
    broken = [name for name, tensor in tensors.items() if not torch.isfinite(tensor).all()]
    if broken:
        raise InvalidInput(
            f"{stored[broken[0]].file} holds values that are NaN or infinite ({some(broken)}); use a"
            " copy of the weights without them",
            field="generator",
        )
