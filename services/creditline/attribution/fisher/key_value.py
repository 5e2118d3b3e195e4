"""The Fisher information of the training set by EK-FAC, for the weights that unlearning moves.

Eigenvalue-corrected Kronecker factors (arXiv 1806.03884), as AbU+ uses them (arXiv 2511.10721): each layer's
Fisher is taken to be diagonal in the eigenvectors of the second moments of its outputs' gradients and of its
inputs, and on that diagonal stand the mean squares of the per-sample gradients themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

# Added to the Fisher, relative to the layer's mean eigenvalue: keeps the step finite where the corpus says
# nothing about a direction. AbU+'s strength.
DAMPING = 0.1

# (B, L, D) gradients at all projections' outputs, and (B, L, E) the text that they saw.
FactorBlock = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Fisher:
    """Eigenvectors and eigenvalues of every layer's Fisher.

    outputs: one (D_i, D_i) basis for each layer, in order; text: (E, E), the same for all layers, for all see
    the same text; eigenvalues: (D, E), D the sum of the D_i. Bases hold eigenvectors as columns; all float32.
    """

    outputs: tuple[Tensor, ...]
    text: Tensor
    eigenvalues: Tensor

    def to(self, device: torch.device) -> Fisher:
        """The same on another device."""
        outputs = tuple(basis.to(device) for basis in self.outputs)
        return Fisher(outputs, self.text.to(device), self.eigenvalues.to(device))

    def natural(self, gradient: Tensor, *, damping: float = DAMPING) -> Tensor:
        """The natural gradient (F + damping)⁻¹ · gradient. gradient: (D, E); returns (D, E)."""
        widths = [len(basis) for basis in self.outputs]
        layers = zip(self.outputs, gradient.split(widths), self.eigenvalues.split(widths), strict=True)
        return torch.cat(
            [
                basis @ ((basis.T @ part @ self.text) / (values + damping * values.mean())) @ self.text.T
                for basis, part, values in layers
            ]
        )


def ekfac_fisher(blocks: Callable[[], Iterable[FactorBlock]], widths: Sequence[int]) -> Fisher:
    """The Fisher of examples whose gradients come in factors, block by block.

    blocks: called twice, gives the same blocks each time; widths: outputs of each layer, in order.
    Raises ValueError when there are no examples.
    """
    outputs, text = _bases(blocks(), widths)
    squares, count = torch.zeros(sum(widths), len(text), device=text.device), 0
    for at_outputs, seen in blocks():
        rotated = torch.cat(
            [part @ basis for part, basis in zip(at_outputs.split(list(widths), -1), outputs, strict=True)],
            -1,
        )
        squares += (rotated.transpose(1, 2) @ (seen @ text)).square().sum(dim=0)
        count += len(seen)
    return Fisher(outputs, text, squares / count)


def _bases(blocks: Iterable[FactorBlock], widths: Sequence[int]) -> tuple[tuple[Tensor, ...], Tensor]:
    """Eigenvectors of the second moments of outputs' gradients (each layer's own) and of the text."""
    moments: list[Tensor] = []
    for at_outputs, seen in blocks:
        parts = [part.flatten(0, 1).double() for part in (*at_outputs.split(list(widths), -1), seen)]
        products = [part.T @ part for part in parts]
        moments = [a + b for a, b in zip(moments, products, strict=True)] if moments else products
    if not moments:
        raise ValueError("the Fisher of no examples is not defined")
    *outputs, text = (torch.linalg.eigh(moment)[1].float() for moment in moments)
    return tuple(outputs), text
