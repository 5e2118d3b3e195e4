"""The diagonal Fisher information of the training set, for the weights that unlearning moves."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

# Added to the Fisher, relative to its mean over each projection output row's layer: keeps the step finite
# where the corpus says nothing about a weight. As AbU+ damps (arXiv 2511.10721), at the same strength.
DAMPING = 0.1


def diagonal_fisher(gradients: Iterable[Tensor]) -> Tensor:
    """Mean of squared per-sample gradients. gradients: blocks of (B, D, E); returns (D, E) float32."""
    total: Tensor | None = None
    count = 0
    for block in gradients:
        squared = block.square().sum(dim=0)
        total = squared if total is None else total + squared
        count += len(block)
    if total is None:
        raise ValueError("the Fisher of no examples is not defined")
    return total / count


def inverse_fisher(fisher: Tensor, widths: list[int], *, damping: float = DAMPING) -> Tensor:
    """1 / (F + damping · mean of the layer's F). fisher: (D, E); widths: rows of each layer, summing to D."""
    return torch.cat([1.0 / (layer + damping * layer.mean()) for layer in fisher.split(widths)])
