"""EK-FAC of any of the UNet's layers: the Fisher information, diagonal in each layer's Kronecker eigenbasis.

Eigenvalue-corrected Kronecker factors (arXiv 1806.03884) as used for influence functions of diffusion models
(arXiv 2410.13850). A Linear or Conv2d layer's gradient is a matrix (out, in), a bias being one more input
that is always 1; its basis is the eigenvectors of the second moments at outputs and inputs, and on the
diagonal stand mean squares of per-sample gradients. Scales and shifts of norms keep their own coordinates.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from creditline.attribution.fisher.key_value import DAMPING
from creditline.attribution.gradients.per_sample import (
    RecordedPasses,
    gradient_factors_of,
    layer_gradients,
    recorded_passes,
)
from creditline.attribution.gradients.targets import GradientTarget, noise_loss
from creditline.devices import device_of
from creditline.errors import InvalidInput
from creditline.generator.losses import Draws, Examples
from creditline.generator.pipeline import Generator

# What counts as one sample of the Fisher: an example with all its draws, or each pass.
SampleKind = Literal["example", "pass"]


@dataclass(frozen=True)
class LayerFisher:
    """One layer's eigenvectors (columns) and eigenvalues; no eigenvectors where it has none but the diagonal.

    outputs: (out, out); inputs: (in, in), both float32; eigenvalues: (out, in) float32.
    """

    outputs: Tensor | None
    inputs: Tensor | None
    eigenvalues: Tensor

    def to(self, device: torch.device) -> LayerFisher:
        """The same on another device."""
        outputs, inputs = (
            None if basis is None else basis.to(device) for basis in (self.outputs, self.inputs)
        )
        return LayerFisher(outputs, inputs, self.eigenvalues.to(device))

    def rotated(self, gradients: Tensor) -> Tensor:
        """Into the eigenbasis: (B, out, in) -> (B, out, in)."""
        return _rotated(gradients, self.outputs, self.inputs)

    def rotated_back(self, gradients: Tensor) -> Tensor:
        """Out of the eigenbasis: (B, out, in) -> (B, out, in)."""
        if self.outputs is None or self.inputs is None:
            return gradients
        return self.outputs @ gradients @ self.inputs.T

    def damped(self, damping: float) -> Tensor:
        """Eigenvalues plus `damping` of their mean: (out, in)."""
        return self.eigenvalues + damping * self.eigenvalues.mean()


@dataclass(frozen=True)
class EkfacFisher:
    """All layers' factors; a gradient is the concatenation of theirs, as `per_sample_gradients` gives it."""

    layers: dict[str, LayerFisher]
    has_bias: dict[str, bool]

    def to(self, device: torch.device) -> EkfacFisher:
        """The same on another device."""
        return EkfacFisher({name: layer.to(device) for name, layer in self.layers.items()}, self.has_bias)

    def natural(self, gradients: Tensor, *, damping: float = DAMPING) -> Tensor:
        """(F + damping)⁻¹ · gradient for every row: (B, P) -> (B, P) float32."""
        return self._each_layer(
            gradients,
            lambda factor, rows: factor.rotated_back(factor.rotated(rows) / factor.damped(damping)),
        )

    def whitened(self, gradients: Tensor, *, damping: float = DAMPING) -> Tensor:
        """Rows whose inner products are g · (F + damping)⁻¹ · g′, in the eigenbasis: (B, P) -> (B, P)."""
        return self._each_layer(
            gradients, lambda factor, rows: factor.rotated(rows) / factor.damped(damping).sqrt()
        )

    def _each_layer(self, gradients: Tensor, change: Callable[[LayerFisher, Tensor], Tensor]) -> Tensor:
        sizes = [factor.eigenvalues.numel() for factor in self.layers.values()]
        if gradients.shape[1] != sum(sizes):
            raise InvalidInput(
                f"gradients of {gradients.shape[1]} numbers do not fit a Fisher of {sum(sizes)};"
                " both must be of the same parameters",
                field="parameters",
            )
        parts = []
        for (name, factor), part in zip(self.layers.items(), gradients.split(sizes, dim=1), strict=True):
            changed = change(factor, as_matrix(part, factor.eigenvalues.shape, bias=self.has_bias[name]))
            parts.append(as_vector(changed, bias=self.has_bias[name]))
        return torch.cat(parts, dim=1)


def _rotated(gradients: Tensor, outputs: Tensor | None, inputs: Tensor | None) -> Tensor:
    if outputs is None or inputs is None:
        return gradients
    return outputs.T @ gradients @ inputs


def as_matrix(gradients: Tensor, shape: Sequence[int], *, bias: bool) -> Tensor:
    """A layer's numbers (weight, then bias) as matrices with the bias as last column: (B, out, in)."""
    rows, columns = shape
    if not bias:
        return gradients.view(-1, rows, columns)
    weight, shift = gradients.split([rows * (columns - 1), rows], dim=1)
    return torch.cat([weight.reshape(-1, rows, columns - 1), shift[:, :, None]], dim=2)


def as_vector(matrices: Tensor, *, bias: bool) -> Tensor:
    """The inverse of `as_matrix`: (B, out · in)."""
    if not bias:
        return matrices.flatten(1)
    return torch.cat([matrices[:, :, :-1].flatten(1), matrices[:, :, -1]], dim=1)


def fit_ekfac(
    generator: Generator,
    works: Examples,
    draws: Draws,
    layers: Mapping[str, nn.Module],
    *,
    measure: GradientTarget = noise_loss,
    sample: SampleKind = "example",
    draw_weights: Tensor | None = None,
    eigenbasis: bool = True,
) -> EkfacFisher:
    """The empirical Fisher of the works' gradients: two walks over the works.

    eigenbasis: without it the Fisher is diagonal in the weights' own coordinates, as AbU's, in one walk.

    sample "example": mean squares of each work's gradient averaged over its draws; "pass": of each pass's.
    draw_weights: (draws,), as in `per_sample_gradients`.
    """

    def recorded() -> Iterable[RecordedPasses]:
        return recorded_passes(generator, works, draws, layers, measure, draw_weights)

    bases = _fit_bases(recorded() if eigenbasis else (), layers)
    has_bias = {name: _has_bias_column(module) for name, module in layers.items()}
    squares: dict[str, Tensor] = {}
    count = 0
    for examples, passes in recorded():
        groups = examples if sample == "example" else examples * len(draws)
        scale = 1.0 / len(draws) if sample == "example" else 1.0
        count += groups
        for name, module in layers.items():
            gradients = scale * layer_gradients(module, *passes[name], groups)
            matrices = as_matrix(gradients, _matrix_shape(module), bias=has_bias[name])
            added = _rotated(matrices, *bases[name]).square().sum(dim=0)
            squares[name] = squares[name] + added if name in squares else added
    factors = {name: LayerFisher(*bases[name], squares[name] / count) for name in layers}
    return EkfacFisher(factors, has_bias)


def fisher_of_rows(rows: NDArray[np.float32], layers: Mapping[str, nn.Module]) -> EkfacFisher:
    """The empirical Fisher from per-sample gradients alone, without a pass of the model.

    Bases are the eigenvectors of the gradients' own second moments on both sides, as Shampoo's
    (arXiv 1802.09568), and not of what went in and came out. rows: (N, P) float32, a memory map as well. The
    Fisher is on the layers' device.
    """
    factors, has_bias, start = {}, {}, 0
    for name, module in layers.items():
        shape, has_bias[name] = _matrix_shape(module), _has_bias_column(module)
        columns = slice(start, start + shape[0] * shape[1])
        columns_now = torch.from_numpy(np.array(rows[:, columns])).to(device_of(module))
        gradients = as_matrix(columns_now, shape, bias=has_bias[name])
        factors[name] = _factor_of(gradients, whole=isinstance(module, nn.Linear | nn.Conv2d))
        start = columns.stop
    if start != rows.shape[1]:
        raise InvalidInput(f"rows of {rows.shape[1]} numbers are not gradients of {start} parameters")
    return EkfacFisher(factors, has_bias)


def _factor_of(gradients: Tensor, *, whole: bool) -> LayerFisher:
    """One layer's, from its gradients (N, out, in); `whole`: it has eigenvectors."""
    if not whole:
        return LayerFisher(None, None, gradients.square().mean(dim=0))
    outputs, inputs = (
        _eigenvectors(sides.T @ sides)
        for sides in (gradients.transpose(1, 2).flatten(0, 1), gradients.flatten(0, 1))
    )
    return LayerFisher(outputs, inputs, _rotated(gradients, outputs, inputs).square().mean(dim=0))


def _eigenvectors(moment: Tensor) -> Tensor:
    return torch.linalg.eigh(moment.double())[1].float()


def _has_bias_column(module: nn.Module) -> bool:
    return isinstance(module, nn.Linear | nn.Conv2d) and module.bias is not None


def _matrix_shape(module: nn.Module) -> tuple[int, int]:
    if isinstance(module, nn.Linear | nn.Conv2d):
        outputs = len(module.weight)
        return outputs, module.weight[0].numel() + (module.bias is not None)
    return sum(parameter.numel() for parameter in module.parameters(False)), 1


def _fit_bases(
    recorded: Iterable[RecordedPasses], layers: Mapping[str, nn.Module]
) -> dict[str, tuple[Tensor | None, Tensor | None]]:
    """Eigenvectors of each layer's second moments, at outputs and inputs."""
    moments: dict[str, tuple[Tensor, Tensor]] = {}
    for _, passes in recorded:
        for name, module in layers.items():
            if not isinstance(module, nn.Linear | nn.Conv2d):
                continue
            inward, outward = (factor[0] for factor in gradient_factors_of(module, *passes[name], 1))
            if module.bias is not None:
                inward = torch.cat([inward, inward.new_ones(len(inward), 1)], dim=1)
            found = (outward.T @ outward).double(), (inward.T @ inward).double()
            moments[name] = _sum(moments[name], found) if name in moments else found
    if not layers:
        raise InvalidInput("the Fisher of no layers is not defined; choose other parameters")
    bases: dict[str, tuple[Tensor | None, Tensor | None]] = dict.fromkeys(layers, (None, None))
    for name, (outward, inward) in moments.items():
        bases[name] = _eigenvectors(outward), _eigenvectors(inward)
    return bases


def _sum(first: tuple[Tensor, Tensor], second: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    return first[0] + second[0], first[1] + second[1]
