"""Maps of a layer's gradient that are applied to its two factors, so that the gradient itself is never made.

The gradient of a Linear or Conv2d layer is Σ over positions of (gradient at the output) ⊗ (input), a matrix
(out, in) in which a bias is one more input that is always 1. Mapping both factors first gives a smaller
matrix: by dense matrices in LoGRA (arXiv 2405.13954) and LoRIF (arXiv 2601.21929), by masks in FactGraSS
(arXiv 2505.18976), which transforms the smaller matrix as `sparse` does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from creditline.attribution.gradients.per_sample import gradient_factors_of
from creditline.errors import InvalidInput
from creditline.generator.losses import example_generator


@dataclass(frozen=True)
class FactorMap:
    """Linear maps of the two factors of one layer's gradient."""

    outputs: Tensor
    """(out, d₁) float32 matrix, or (d₁,) int64 indices of the outputs that are kept."""
    inputs: Tensor
    """(in, d₂) float32 matrix, or (d₂,) int64 indices of the inputs that are kept."""
    scale: float = 1.0
    """Factor of the result, so that lengths are kept in expectation."""

    @property
    def shape(self) -> tuple[int, int]:
        """(d₁, d₂), the shape of the mapped gradient."""
        return self.outputs.shape[-1], self.inputs.shape[-1]

    def of_factors(self, input_factor: Tensor, output_factor: Tensor) -> Tensor:
        """The mapped gradient, from the factors at every position.

        Args:
            input_factor: (B, positions, in) float32.
            output_factor: (B, positions, out) float32.

        Returns:
            (B, d₁, d₂) float32.
        """
        outputs, inputs = _mapped(output_factor, self.outputs), _mapped(input_factor, self.inputs)
        return self.scale * (outputs.transpose(1, 2) @ inputs)

    def of_gradient(self, gradients: Tensor) -> Tensor:
        """The mapped gradient, from the gradient itself: (B, out, in) -> (B, d₁, d₂)."""
        half = _mapped(gradients, self.inputs)
        return self.scale * _mapped(half.transpose(1, 2), self.outputs).transpose(1, 2)


def _mapped(factor: Tensor, by: Tensor) -> Tensor:
    """A factor's last dimension, mapped by a matrix or reduced to the kept indices."""
    return factor @ by if by.is_floating_point() else factor.index_select(-1, by)


def matrix_shape(module: nn.Module) -> tuple[int, int]:
    """Shape (out, in) of a layer's gradient as a matrix, a bias counted as one more input.

    Raises:
        InvalidInput: The layer is neither Linear nor Conv2d.
    """
    if not isinstance(module, nn.Linear | nn.Conv2d):
        raise InvalidInput(
            f"the gradient of a layer of type {type(module).__name__} has no two factors to compress; choose"
            " parameters without it, such as 'attn'",
            field="parameters",
        )
    return module.weight.shape[0], module.weight[0].numel() + (module.bias is not None)


def matrix_factors(
    module: nn.Module, inputs: Tensor, output_gradient: Tensor, groups: int
) -> tuple[Tensor, Tensor]:
    """The factors of a layer's gradient as a matrix, with an input that is always 1 where there is a bias.

    Args:
        module: A Linear or Conv2d layer.
        inputs: The layer's input, batch first.
        output_gradient: The gradient at the layer's output, batch first.
        groups: Number of groups that the batch is divided into.

    Returns:
        Input factor (groups, positions, in) and output factor (groups, positions, out).

    Raises:
        InvalidInput: The layer is neither Linear nor Conv2d.
    """
    matrix_shape(module)
    input_factor, output_factor = gradient_factors_of(module, inputs, output_gradient, groups)
    if module.bias is not None:
        ones = input_factor.new_ones(*input_factor.shape[:-1], 1)
        input_factor = torch.cat([input_factor, ones], dim=-1)
    return input_factor, output_factor


def two_sided(layers: Mapping[str, nn.Module], outputs: int, inputs: int, seed: int) -> dict[str, FactorMap]:
    """Dense maps with orthonormal random columns: LoGRA's random initialisation, LoRIF's first stage.

    Args:
        layers: The layers by name.
        outputs: d₁; a layer with fewer outputs keeps all.
        inputs: d₂; a layer with fewer inputs keeps all.
        seed: Seed of the maps.

    Raises:
        InvalidInput: A layer is neither Linear nor Conv2d, or a dimension is below 1.
    """
    _refuse_below_one(outputs, inputs)

    def one(name: str, module: nn.Module) -> FactorMap:
        rows, columns = matrix_shape(module)
        return FactorMap(
            _orthonormal(rows, min(outputs, rows), f"{seed}\0{name}\0outputs"),
            _orthonormal(columns, min(inputs, columns), f"{seed}\0{name}\0inputs"),
        )

    return {name: one(name, module) for name, module in layers.items()}


def factor_masks(layers: Mapping[str, nn.Module], fraction: float, seed: int) -> dict[str, FactorMap]:
    """Random masks that keep a fraction of each layer's outputs and of its inputs: FactGraSS's first stage.

    Args:
        layers: The layers by name.
        fraction: Fraction of the outputs and of the inputs that are kept, above 0 and up to 1.
        seed: Seed of the masks.

    Raises:
        InvalidInput: A layer is neither Linear nor Conv2d, or the fraction is out of range.
    """
    if not 0 < fraction <= 1:
        raise InvalidInput(
            f"fraction {fraction} of a mask is out of range; give a number above 0 and up to 1",
            field="fraction",
        )

    def one(name: str, module: nn.Module) -> FactorMap:
        rows, columns = matrix_shape(module)
        outputs = _kept(rows, max(1, round(fraction * rows)), f"{seed}\0{name}\0outputs")
        inputs = _kept(columns, max(1, round(fraction * columns)), f"{seed}\0{name}\0inputs")
        kept = len(outputs) * len(inputs)
        return FactorMap(outputs, inputs, scale=(rows * columns / kept) ** 0.5)

    return {name: one(name, module) for name, module in layers.items()}


def _orthonormal(rows: int, columns: int, key: str) -> Tensor:
    """A random matrix with orthogonal columns of length √(rows / columns): (rows, columns) float32."""
    drawn = torch.randn(rows, columns, generator=example_generator("two-sided", key))
    basis: Tensor = torch.linalg.qr(drawn)[0]
    return basis * (rows / columns) ** 0.5


def _kept(width: int, count: int, key: str) -> Tensor:
    """Sorted random indices below `width`: (count,) int64."""
    return torch.randperm(width, generator=example_generator("mask", key))[:count].sort().values


def _refuse_below_one(outputs: int, inputs: int) -> None:
    if min(outputs, inputs) < 1:
        raise InvalidInput(f"a side of {min(outputs, inputs)} is too small; give 1 or more", field="outputs")
