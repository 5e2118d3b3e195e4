"""EK-FAC for any of the UNet's layers: the Fisher information, diagonal in each layer's Kronecker eigenbasis.

Eigenvalue-corrected Kronecker factors (arXiv 1806.03884), as used for influence functions of diffusion models
(arXiv 2410.13850). The gradient of a Linear or Conv2d layer is a matrix (out, in), where a bias is one more
input that is always 1. The basis consists of the eigenvectors of the second moments at outputs and inputs;
the diagonal holds the mean squares of per-sample gradients in that basis. The scales and shifts of norms keep
their own coordinates.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from creditline.attribution.fisher.key_value import DAMPING, damped
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

# One sample of the Fisher: an example with all its draws, or a single pass.
SampleKind = Literal["example", "pass"]


@dataclass(frozen=True)
class LayerFisher:
    """Eigenvectors and eigenvalues of one layer's Fisher information."""

    outputs: Tensor | None
    """Eigenvectors at the outputs, as columns: (out, out) float32; None: diagonal in the weights' own
    coordinates."""
    inputs: Tensor | None
    """Eigenvectors at the inputs, as columns: (in, in) float32; None as for `outputs`."""
    eigenvalues: Tensor
    """Eigenvalues: (out, in) float32."""

    def to(self, device: torch.device) -> LayerFisher:
        """A copy on the given device."""
        outputs, inputs = (
            None if basis is None else basis.to(device) for basis in (self.outputs, self.inputs)
        )
        return LayerFisher(outputs, inputs, self.eigenvalues.to(device))

    def rotated(self, gradients: Tensor) -> Tensor:
        """Transform gradients into the eigenbasis: (B, out, in) -> (B, out, in)."""
        return _rotated(gradients, self.outputs, self.inputs)

    def rotated_back(self, gradients: Tensor) -> Tensor:
        """Transform gradients back from the eigenbasis: (B, out, in) -> (B, out, in)."""
        if self.outputs is None or self.inputs is None:
            return gradients
        return self.outputs @ gradients @ self.inputs.T

    def damped(self, damping: float) -> Tensor:
        """Eigenvalues plus `damping` times their mean: (out, in); infinite where no work has a gradient."""
        return damped(self.eigenvalues, damping)


@dataclass(frozen=True)
class EkfacFisher:
    """Fisher information of several layers, block-diagonal by layer.

    A gradient is the concatenation of the layers' gradients, in the order of `per_sample_gradients`.
    """

    layers: dict[str, LayerFisher]
    """Fisher information of each layer, by name."""
    has_bias: dict[str, bool]
    """Whether the last input column of a layer's matrix is its bias, by name."""

    def to(self, device: torch.device) -> EkfacFisher:
        """A copy on the given device."""
        return EkfacFisher({name: layer.to(device) for name, layer in self.layers.items()}, self.has_bias)

    def natural(self, gradients: Tensor, *, damping: float = DAMPING) -> Tensor:
        """Natural gradient (F + damping)⁻¹ · gradient of every row.

        Args:
            gradients: (B, P) float32.
            damping: Damping relative to each layer's mean eigenvalue.

        Returns:
            Natural gradients: (B, P) float32.

        Raises:
            InvalidInput: The gradients are of another dimension than the Fisher.
        """
        return self._map_layers(
            gradients,
            lambda factor, rows: factor.rotated_back(factor.rotated(rows) / factor.damped(damping)),
        )

    def whitened(self, gradients: Tensor, *, damping: float = DAMPING) -> Tensor:
        """Rows in the eigenbasis whose inner products are g · (F + damping)⁻¹ · g′.

        Args:
            gradients: (B, P) float32.
            damping: Damping relative to each layer's mean eigenvalue.

        Returns:
            Whitened gradients: (B, P) float32.

        Raises:
            InvalidInput: The gradients are of another dimension than the Fisher.
        """
        return self._map_layers(
            gradients, lambda factor, rows: factor.rotated(rows) / factor.damped(damping).sqrt()
        )

    def layer_whitening(self, *, damping: float = DAMPING) -> Callable[[str, Tensor], Tensor]:
        """`whitened` for one layer at a time, for gradients that are never in memory as whole rows.

        Args:
            damping: Damping relative to each layer's mean eigenvalue.

        Returns:
            A function of a layer's name and its gradients (B, P_layer), which returns whitened gradients of
            the same shape.
        """
        roots = {name: factor.damped(damping).sqrt() for name, factor in self.layers.items()}

        def whitened(name: str, gradients: Tensor) -> Tensor:
            matrices = as_matrix(gradients, roots[name].shape, bias=self.has_bias[name])
            return as_vector(self.layers[name].rotated(matrices) / roots[name], bias=self.has_bias[name])

        return whitened

    def _map_layers(self, gradients: Tensor, transform: Callable[[LayerFisher, Tensor], Tensor]) -> Tensor:
        sizes = [factor.eigenvalues.numel() for factor in self.layers.values()]
        if gradients.shape[1] != sum(sizes):
            raise InvalidInput(
                f"gradients of {gradients.shape[1]} numbers do not fit a Fisher of {sum(sizes)};"
                " compute both for the same choice of parameters",
                field="parameters",
            )
        parts = []
        for (name, factor), part in zip(self.layers.items(), gradients.split(sizes, dim=1), strict=True):
            matrices = as_matrix(part, factor.eigenvalues.shape, bias=self.has_bias[name])
            parts.append(as_vector(transform(factor, matrices), bias=self.has_bias[name]))
        return torch.cat(parts, dim=1)


def _rotated(gradients: Tensor, outputs: Tensor | None, inputs: Tensor | None) -> Tensor:
    if outputs is None or inputs is None:
        return gradients
    return outputs.T @ gradients @ inputs


def as_matrix(gradients: Tensor, shape: Sequence[int], *, bias: bool) -> Tensor:
    """Reshape a layer's gradients to matrices.

    Args:
        gradients: (B, out · in), the weight before the bias.
        shape: (out, in), the bias counted as one input.
        bias: Whether the layer has a bias, which becomes the last column.

    Returns:
        Matrices: (B, out, in).
    """
    rows, columns = shape
    if not bias:
        return gradients.view(-1, rows, columns)
    weight, bias_part = gradients.split([rows * (columns - 1), rows], dim=1)
    return torch.cat([weight.reshape(-1, rows, columns - 1), bias_part[:, :, None]], dim=2)


def as_vector(matrices: Tensor, *, bias: bool) -> Tensor:
    """Inverse of `as_matrix`: (B, out, in) -> (B, out · in)."""
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
    """Fit the empirical Fisher to the works' gradients, in two passes over the works.

    Args:
        generator: The generator.
        works: The works that the Fisher is of.
        draws: Timesteps and noises of each work.
        layers: The layers by name.
        measure: Function whose gradient is taken.
        sample: "example": the eigenvalues are mean squares of each work's gradient averaged over its draws;
            "pass": mean squares of the gradient of each single pass.
        draw_weights: (draws,) weight of each draw, as in `per_sample_gradients`; None: 1 for all.
        eigenbasis: False: the Fisher is diagonal in the weights' own coordinates, as in AbU, and is fitted in
            one pass over the works.

    Returns:
        The Fisher, on the generator's device.

    Raises:
        InvalidInput: There are no layers, or a layer is of a kind that is not supported.
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
    """Fit the empirical Fisher to stored per-sample gradients, without a pass of the model.

    The bases are the eigenvectors of the second moments of the gradient matrices on both sides, as in Shampoo
    (arXiv 1802.09568), instead of the second moments of inputs and output gradients.

    Args:
        rows: (N, P) float32 gradients, possibly a memory map.
        layers: The layers by name, with P parameters together.

    Returns:
        The Fisher, on the layers' device.

    Raises:
        InvalidInput: The rows have another dimension than P.
    """
    factors, has_bias, start = {}, {}, 0
    for name, module in layers.items():
        shape, has_bias[name] = _matrix_shape(module), _has_bias_column(module)
        columns = slice(start, start + shape[0] * shape[1])
        layer_rows = torch.from_numpy(np.array(rows[:, columns])).to(device_of(module))
        gradients = as_matrix(layer_rows, shape, bias=has_bias[name])
        factors[name] = _layer_fisher(gradients, eigenbasis=isinstance(module, nn.Linear | nn.Conv2d))
        start = columns.stop
    if start != rows.shape[1]:
        raise InvalidInput(
            f"rows of {rows.shape[1]} numbers are not gradients of {start} parameters; give rows of the same"
            " choice of parameters"
        )
    return EkfacFisher(factors, has_bias)


def _layer_fisher(gradients: Tensor, *, eigenbasis: bool) -> LayerFisher:
    """The Fisher of one layer from its gradients (N, out, in)."""
    if not eigenbasis:
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
    """Eigenvectors of each layer's second moments at outputs and inputs; (None, None) for norms."""
    moments: dict[str, tuple[Tensor, Tensor]] = {}
    for _, passes in recorded:
        for name, module in layers.items():
            if not isinstance(module, nn.Linear | nn.Conv2d):
                continue
            inputs, outputs = (factor[0] for factor in gradient_factors_of(module, *passes[name], 1))
            if module.bias is not None:
                inputs = torch.cat([inputs, inputs.new_ones(len(inputs), 1)], dim=1)
            products = (outputs.T @ outputs).double(), (inputs.T @ inputs).double()
            moments[name] = _sum(moments[name], products) if name in moments else products
    if not layers:
        raise InvalidInput("a Fisher needs at least one layer, and none were given; choose other parameters")
    bases: dict[str, tuple[Tensor | None, Tensor | None]] = dict.fromkeys(layers, (None, None))
    for name, (output_moment, input_moment) in moments.items():
        bases[name] = _eigenvectors(output_moment), _eigenvectors(input_moment)
    return bases


def _sum(first: tuple[Tensor, Tensor], second: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    return first[0] + second[0], first[1] + second[1]
