"""Merging of adapters into a pipeline's weights, and the fingerprint of a pipeline with adapters."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from creditline.errors import InvalidInput
from creditline.generator.adapters.files import read_adapter
from creditline.generator.adapters.specification import AdapterSpec
from creditline.generator.adapters.updates import LowRankUpdate, layers_of, updates_of
from creditline.generator.parts.naming import TEXT_PREFIX


def read_updates(pipeline: Any, adapters: Sequence[AdapterSpec]) -> list[list[LowRankUpdate]]:
    """Read and check adapters for a pipeline, which is not changed.

    Args:
        pipeline: A `StableDiffusionPipeline`.
        adapters: The adapters.

    Returns:
        The updates of each adapter.

    Raises:
        NotReady: An adapter does not exist.
        InvalidInput: An adapter is damaged, is no LoRA, or does not fit the pipeline; see `updates_of`.
    """
    layers = layers_of(pipeline)
    return [updates_of(read_adapter(one.path), one.strength, layers) for one in adapters]


@torch.no_grad()
def merge(pipeline: Any, updates: Sequence[Sequence[LowRankUpdate]]) -> None:
    """Add updates to a pipeline's weights, in float32.

    Args:
        pipeline: A `StableDiffusionPipeline` in float32 on the CPU.
        updates: Updates of each adapter, as `read_updates` returns them.

    Raises:
        InvalidInput: A merged weight is not finite.
    """
    layers = layers_of(pipeline)
    for adapter in updates:
        for update in adapter:
            weight = layers[update.part][update.layer].weight
            merged = weight.data + update.change(tuple(weight.shape))
            if not bool(merged.isfinite().all()):
                raise InvalidInput(
                    f"the adapters take {update.part} layer {update.layer} beyond float32; lower their"
                    " strength",
                    field="adapters",
                )
            weight.data = merged


def merged_fingerprint(base: str, updates: Sequence[Sequence[LowRankUpdate]]) -> str:
    """Fingerprint of a pipeline with adapters.

    It is taken from the base's fingerprint and the adapters' numbers, not from the merged weights, whose last
    bits depend on the processor. The adapters' order, spelling, file format and dtype do not count.

    Args:
        base: Fingerprint of the pipeline without adapters.
        updates: Updates of each adapter; none gives the base's fingerprint.

    Returns:
        64 hexadecimal digits.
    """
    if not updates:
        return base
    contents = sorted(json.dumps([_content(update) for update in adapter]) for adapter in updates)
    return hashlib.sha256(json.dumps({"base": base, "adapters": contents}).encode()).hexdigest()


def _content(update: LowRankUpdate) -> list[Any]:
    tensors = (update.down, update.up, update.mid)
    layer = update.layer.removeprefix(TEXT_PREFIX)
    return [update.part, layer, update.factor.hex(), *(_digest(tensor) for tensor in tensors)]


def _digest(tensor: Tensor | None) -> str:
    """SHA-256 of shape and values as little-endian float32; empty for no tensor."""
    if tensor is None:
        return ""
    values = tensor.contiguous().numpy().astype("<f4", copy=False)
    return hashlib.sha256(repr(tuple(tensor.shape)).encode() + values.tobytes()).hexdigest()
