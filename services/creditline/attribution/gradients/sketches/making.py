"""Sketches made layer by layer from the passes of a picture, without its whole gradient in memory.

A sketch is linear in the gradient: the draws are summed within each layer before the projection, layers are
projected one after the other into the same sums, and so are parts of a picture's draws. Memory holds the
graph of a few passes, one layer's gradient and the sums, whatever the number of parameters.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from creditline.attribution.gradients.checks import refuse_not_finite
from creditline.attribution.gradients.per_sample import layer_gradients, output_gradients, parameter_count
from creditline.attribution.gradients.projection import Projection
from creditline.attribution.gradients.sketches.factored import FactorMap, matrix_factors
from creditline.attribution.gradients.targets import GradientTarget, noise_loss
from creditline.errors import InvalidInput
from creditline.generator.losses import Draws, Examples, NoisyBatch, noisy_batch
from creditline.generator.pipeline import Generator

# Number of passes whose graph is in memory at a time.
_PASSES = 32

# By layer, its input and the gradient at its output.
Recorded = Mapping[str, tuple[Tensor, Tensor]]
# (name of a layer, its gradients (B, P_layer)) -> the gradients in another basis, of the same shape.
LayerTransform = Callable[[str, Tensor], Tensor]


class Sketch(ABC):
    """A linear map from the gradients of all layers to k numbers."""

    size: int
    """Dimension k of a sketch."""

    @abstractmethod
    def of_passes(self, recorded: Recorded, groups: int) -> Tensor:
        """Sketches of the gradients, each the sum over a group of passes.

        Args:
            recorded: By layer, its input and the gradient at its output, B passes.
            groups: Number of equal, consecutive groups of the passes.

        Returns:
            (groups, k) float32.
        """


@dataclass(frozen=True)
class ProjectedLayers(Sketch):
    """The projection of all layers' gradients, which are made one layer at a time.

    Raises:
        InvalidInput: The projection takes another number of components than the layers have parameters.
    """

    layers: Mapping[str, nn.Module]
    """The layers by name, with P parameters together."""
    projection: Projection
    """A random map from P to k numbers."""
    transform: LayerTransform | None = None
    """A linear map of each layer's gradient before the projection, such as whitening; None: none."""

    def __post_init__(self) -> None:
        _refuse_other_width(self.projection, parameter_count(self.layers))

    @property
    def size(self) -> int:  # type: ignore[override]
        """Dimension k of a sketch."""
        return self.projection.size

    def of_passes(self, recorded: Recorded, groups: int) -> Tensor:
        return self.projection.project_parts(self._parts(recorded, groups))

    def _parts(self, recorded: Recorded, groups: int) -> Iterator[Tensor]:
        for name, module in self.layers.items():
            gradients = layer_gradients(module, *recorded[name], groups)
            yield gradients if self.transform is None else self.transform(name, gradients)


@dataclass(frozen=True)
class ProjectedFactors(Sketch):
    """The projection of gradients whose two factors are mapped first: FactGraSS, LoGRA, LoRIF.

    Raises:
        InvalidInput: The projection takes another number of components than the maps give.
    """

    layers: Mapping[str, nn.Module]
    """The layers by name, Linear or Conv2d."""
    maps: Mapping[str, FactorMap]
    """Maps of the factors, by name of the layer."""
    projection: Projection | None
    """A random map of the concatenated matrices; None: they are the sketch."""

    def __post_init__(self) -> None:
        if self.projection is not None:
            _refuse_other_width(self.projection, self._mapped_size)

    @property
    def size(self) -> int:  # type: ignore[override]
        """Dimension k of a sketch."""
        return self._mapped_size if self.projection is None else self.projection.size

    @property
    def _mapped_size(self) -> int:
        """Numbers of all mapped gradients together."""
        return sum(rows * columns for rows, columns in (one.shape for one in self.maps.values()))

    def of_passes(self, recorded: Recorded, groups: int) -> Tensor:
        parts = self._parts(recorded, groups)
        return (
            torch.cat(list(parts), dim=1) if self.projection is None else self.projection.project_parts(parts)
        )

    def _parts(self, recorded: Recorded, groups: int) -> Iterator[Tensor]:
        for name, module in self.layers.items():
            factors = matrix_factors(module, *recorded[name], groups)
            yield self.maps[name].of_factors(*factors).flatten(1)


def gradient_sketches(
    generator: Generator,
    examples: Examples,
    draws: Draws,
    sketch: ProjectedLayers | ProjectedFactors,
    *,
    measure: GradientTarget = noise_loss,
    draw_weights: Tensor | None = None,
    passes: int = _PASSES,
) -> Tensor:
    """Sketch of each example's gradient of a measure, averaged over its draws.

    Up to rounding, it is the sketch of `per_sample_gradients`, however the passes are batched.

    Args:
        generator: The generator.
        examples: The examples, N of them.
        draws: Timesteps and noises of each example.
        sketch: The map from gradients to sketches, with the layers.
        measure: Function of each pass whose gradient is taken.
        draw_weights: (draws,) weight of each draw, with mean 1; None: 1 for all.
        passes: Largest number of passes whose graph is in memory.

    Returns:
        Sketches on the generator's device: (N, k) float32.

    Raises:
        InvalidInput: A gradient is NaN or infinite, or a layer has none or is of a kind that is not
            supported.
    """
    step = max(1, passes // len(draws))
    weights = torch.ones(len(draws)) if draw_weights is None else draw_weights
    parts = []
    for start in range(0, len(examples), step):
        part = examples.rows(range(start, min(start + step, len(examples))))
        sums = torch.zeros(len(part), sketch.size, device=part.latents.device)
        for batch, batch_weights in _weighted_batches(generator, part, draws, weights, passes):
            recorded = output_gradients(generator, batch, sketch.layers, measure, batch_weights)
            refuse_not_finite({name: gradient for name, (_, gradient) in recorded.items()}, part.ids)
            sums += sketch.of_passes(recorded, len(part))
        parts.append(sums / len(draws))
    return torch.cat(parts)


def _weighted_batches(
    generator: Generator, part: Examples, draws: Draws, weights: Tensor, passes: int
) -> Iterator[tuple[NoisyBatch, Tensor]]:
    """Batches of the examples' passes with the weight of each pass; several examples are never split."""
    batch = noisy_batch(generator, part, draws)
    most = passes if len(part) == 1 else len(batch.timesteps)
    repeated = weights.to(part.latents.device).repeat(len(part))
    yield from zip(batch.split(most), repeated.split(most), strict=True)


def _refuse_other_width(projection: Projection, width: int) -> None:
    if projection.width != width:
        raise InvalidInput(
            f"the projection takes {projection.width} numbers, but the layers give {width}; make it for these"
            " layers",
            field="projection",
        )
