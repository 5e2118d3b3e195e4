"""A fitted EK-FAC Fisher on disk, with what it was made from: one safetensors file."""

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
    """Whole or not at all."""
    tensors = {
        f"{name}|{part}": getattr(factor, part)
        for name, factor in fisher.layers.items()
        for part in _PARTS
        if getattr(factor, part) is not None
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    write_tensors(path, tensors, {**origin, "has_bias": json.dumps(fisher.has_bias)})


def read_fisher(path: Path, origin: Mapping[str, str]) -> EkfacFisher:
    """Raises FingerprintMismatch when it was made from something else, InvalidInput when it is cut off."""
    try:
        with safe_open(path, framework="pt") as opened:
            metadata = opened.metadata()
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    except Exception as error:
        raise InvalidInput(f"{path} is cut off ({error}); delete it and make it again") from error
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
    """The Fisher at `path`, fitted first where it is not there, by one process at a time.

    Raises as `read_fisher` and `build_lock` do.
    """
    if not path.exists():
        with build_lock(path):
            if not path.exists():
                write_fisher(fit(), path, origin)
    return read_fisher(path, origin)
