"""Storage of a fitted EK-FAC Fisher with its origin, in one safetensors file."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

from safetensors import safe_open

from creditline.attribution.fisher.ekfac import EkfacFisher, LayerFisher
from creditline.attribution.gradients.row_store import refuse_other_origin
from creditline.build_lock import build_lock
from creditline.errors import InvalidInput
from creditline.tensor_files import write_tensors

_PARTS = ("outputs", "inputs", "eigenvalues")


def write_fisher(fisher: EkfacFisher, path: Path, origin: Mapping[str, str]) -> None:
    """Write the file atomically.

    Args:
        fisher: The Fisher.
        path: Path of the safetensors file; its directory is created.
        origin: What the Fisher was made from, as names and fingerprints.
    """
    tensors = {
        f"{name}|{part}": getattr(factor, part)
        for name, factor in fisher.layers.items()
        for part in _PARTS
        if getattr(factor, part) is not None
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    write_tensors(path, tensors, {**origin, "has_bias": json.dumps(fisher.has_bias)})


def read_fisher(path: Path, origin: Mapping[str, str]) -> EkfacFisher:
    """Read a Fisher, on the CPU.

    Args:
        path: Path of the safetensors file.
        origin: Origin that it must have.

    Raises:
        FingerprintMismatch: The Fisher has another origin.
        InvalidInput: The file is truncated or damaged.
    """
    try:
        with safe_open(path, framework="pt") as opened:
            metadata = opened.metadata()
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    except Exception as error:
        raise InvalidInput(
            f"{path} is truncated or damaged ({error}); delete it and run the command again"
        ) from error
    refuse_other_origin(metadata, origin, path)
    has_bias = json.loads(metadata["has_bias"])
    layers = {
        name: LayerFisher(
            tensors.get(f"{name}|outputs"), tensors.get(f"{name}|inputs"), tensors[f"{name}|eigenvalues"]
        )
        for name in has_bias
    }
    return EkfacFisher(layers, has_bias)


def stored_fisher(path: Path, origin: Mapping[str, str], fit: Callable[[], EkfacFisher]) -> EkfacFisher:
    """Read a Fisher, after fitting it when the file does not exist. One process at a time fits; others wait.

    Args:
        path: Path of the safetensors file.
        origin: Origin that the Fisher must have.
        fit: Fits the Fisher.

    Raises:
        FingerprintMismatch: The file has another origin.
        InvalidInput: The file is truncated or damaged.
        Conflict: Another process has not finished the file in time.
        NotReady: The file system has no locks.
    """
    if not path.exists():
        with build_lock(path):
            if not path.exists():
                write_fisher(fit(), path, origin)
    return read_fisher(path, origin)
