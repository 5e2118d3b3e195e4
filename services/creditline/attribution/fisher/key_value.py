"""Fisher information of the training set by EK-FAC, for the weights that unlearning changes.

Eigenvalue-corrected Kronecker factors (arXiv 1806.03884), as in AbU+ (arXiv 2511.10721): each layer's Fisher
is approximated as diagonal in the eigenvectors of the second moments of its output gradients and of its
inputs, and the diagonal holds the mean squares of the per-sample gradients in that basis.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

# Damping added to the Fisher, relative to the layer's mean eigenvalue: keeps the step finite in directions
# in which the corpus has no gradients. The value of AbU+.
DAMPING = 0.1
_SMALLEST_NORMAL = torch.finfo(torch.float32).tiny

# Gradients at the outputs of all projections (B, L, D), and their text inputs (B, L, E).
FactorBlock = tuple[Tensor, Tensor]


def damped(eigenvalues: Tensor, damping: float) -> Tensor:
    """Eigenvalues of one layer plus `damping` times their mean.

    A layer in which no work has a gradient has eigenvalues of 0. There the result is infinite, so that a
    gradient that is divided by it becomes 0: such a layer takes no part in scores and is not moved.

    Args:
        eigenvalues: Eigenvalues of the layer, of any shape, float32.
        damping: Damping relative to the mean eigenvalue.

    Returns:
        Damped eigenvalues, of the same shape.
    """
    values = eigenvalues + damping * eigenvalues.mean()
    return values.masked_fill(values < _SMALLEST_NORMAL, torch.inf)


@dataclass(frozen=True)
class Fisher:
    """Eigenvectors and eigenvalues of the Fisher of all key and value projections."""

    outputs: tuple[Tensor, ...]
    """Eigenvectors at the outputs of each layer, as columns, in order: (D_i, D_i) float32 each."""
    text: Tensor
    """Eigenvectors at the inputs, as columns: (E, E) float32, shared because all layers have the same text
    as input."""
    eigenvalues: Tensor
    """Eigenvalues of all layers: (D, E) float32, where D is the sum of the D_i."""

    def to(self, device: torch.device) -> Fisher:
        """A copy on the given device."""
        outputs = tuple(basis.to(device) for basis in self.outputs)
        return Fisher(outputs, self.text.to(device), self.eigenvalues.to(device))

    def natural(self, gradient: Tensor, *, damping: float = DAMPING) -> Tensor:
        """Natural gradient (F + damping)⁻¹ · gradient.

        Args:
            gradient: (D, E) float32.
            damping: Damping relative to each layer's mean eigenvalue.

        Returns:
            The natural gradient: (D, E) float32.
        """
        widths = [len(basis) for basis in self.outputs]
        layers = zip(self.outputs, gradient.split(widths), self.eigenvalues.split(widths), strict=True)
        return torch.cat(
            [
                basis @ ((basis.T @ part @ self.text) / damped(values, damping)) @ self.text.T
                for basis, part, values in layers
            ]
        )


def ekfac_fisher(blocks: Callable[[], Iterable[FactorBlock]], widths: Sequence[int]) -> Fisher:
    """Fit the Fisher to examples whose gradients are given in factored form, block by block.

    Args:
        blocks: Returns the blocks; it is called twice and must return the same blocks each time.
        widths: Number of outputs of each layer, in order.

    Raises:
        ValueError: There are no examples.
    """
    outputs, text = _bases(blocks(), widths)
    squares, count = torch.zeros(sum(widths), len(text), device=text.device), 0
    for output_gradients, inputs in blocks():
        layers = zip(output_gradients.split(list(widths), -1), outputs, strict=True)
        rotated = torch.cat([part @ basis for part, basis in layers], -1)
        squares += (rotated.transpose(1, 2) @ (inputs @ text)).square().sum(dim=0)
        count += len(inputs)
    return Fisher(outputs, text, squares / count)


def _bases(blocks: Iterable[FactorBlock], widths: Sequence[int]) -> tuple[tuple[Tensor, ...], Tensor]:
    """Eigenvectors of the second moments of output gradients, layer by layer, and of the text."""
    moments: list[Tensor] = []
    for output_gradients, inputs in blocks:
        parts = [part.flatten(0, 1).double() for part in (*output_gradients.split(list(widths), -1), inputs)]
        products = [part.T @ part for part in parts]
        moments = [a + b for a, b in zip(moments, products, strict=True)] if moments else products
    if not moments:
        raise ValueError("the Fisher cannot be fitted to no examples; give at least one block")
    *outputs, text = (torch.linalg.eigh(moment)[1].float() for moment in moments)
    return tuple(outputs), text
