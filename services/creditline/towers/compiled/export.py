"""Export of a tower's network to an ONNX file, with float32 weights and any batch size."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.export import Dim

from creditline.errors import InvalidInput
from creditline.towers.towers import Towers

INPUT, OUTPUT = "input", "features"
# Types of weights that mean less precise arithmetic.
_REDUCED = ("FLOAT16", "BFLOAT16", "FLOAT8")
# The exporter takes a size of 1 for a constant.
_EXAMPLES = 2
_NOISY = ("onnx_ir", "onnxscript")
_EXAMPLE_TEXTS = ["a wooden house beside a tree", "a leaf"]


def export_image(towers: Towers, path: Path) -> None:
    """Write the image network, with its normalisation.

    Args:
        towers: Towers on the CPU.
        path: The file.

    Raises:
        InvalidInput: The network holds weights of reduced precision.
        Exception: The exporter does not support the network; its errors have no common class.
    """
    pixels = torch.zeros((_EXAMPLES, *towers.pixels_shape), dtype=torch.uint8)
    _export(towers.image_network, pixels, {0: Dim.DYNAMIC}, path)


def export_text(towers: Towers, path: Path) -> None:
    """Write the text network, with the attention mask that it makes of the padding. Raises as `export_image`.

    Args:
        towers: Towers on the CPU.
        path: The file.
    """
    tokens = torch.from_numpy(np.ascontiguousarray(towers.tokens(_EXAMPLE_TEXTS)))
    # A tower that does not mask padding always reads its whole context.
    dynamic = {0: Dim.DYNAMIC, 1: Dim.DYNAMIC} if towers.masks_padding else {0: Dim.DYNAMIC}
    _export(towers.text_network, tokens, dynamic, path)


def _export(network: nn.Module, example: Tensor, dynamic: Mapping[int, Any], path: Path) -> None:
    with torch.no_grad(), _quiet():
        program = torch.onnx.export(
            network,
            (example,),
            dynamo=True,
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_shapes=(dict(dynamic),),
            verbose=False,
        )
    assert program is not None, "the dynamo exporter returns a program"
    _refuse_reduced_precision(program.model.graph.initializers.values(), path.name)
    program.save(path, external_data=False)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's hundreds of notes on its optimisations out of the log; warnings remain."""
    loggers = [logging.getLogger(name) for name in _NOISY]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _refuse_reduced_precision(weights: Any, name: str) -> None:
    found = {weight.dtype.name for weight in weights if weight.dtype.name.startswith(_REDUCED)}
    if found:
        raise InvalidInput(
            f"{name} holds weights of type {', '.join(sorted(found))}; open towers whose weights are float32",
            field="towers",
        )
