"""Sketches made from passes, against sketches of the whole gradients."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from creditline.attribution.fisher.ekfac import as_matrix, fit_ekfac
from creditline.attribution.gradients.parameters import chosen_layers
from creditline.attribution.gradients.per_sample import parameter_count, per_sample_gradients
from creditline.attribution.gradients.sketches.factored import (
    FactorMap,
    factor_masks,
    matrix_shape,
    two_sided,
)
from creditline.attribution.gradients.sketches.making import (
    ProjectedFactors,
    ProjectedLayers,
    gradient_sketches,
)
from creditline.attribution.gradients.sketches.sparse import SparseSigns
from creditline.errors import InvalidInput
from creditline.generator.losses import Draws, Examples
from creditline.generator.pipeline import Generator

DRAWS = Draws(timesteps=3, repeats=2, salt="test")
WEIGHTS = torch.tensor([0.5, 1.5, 1.0, 1.0, 0.25, 1.75])
SIZE = 32


@pytest.fixture
def examples(random_generator: Generator) -> Examples:
    draw = torch.Generator().manual_seed(5)
    config = random_generator.unet.config
    shape = (3, config.in_channels, config.sample_size, config.sample_size)
    return Examples(
        ("one", "two", "three"),
        torch.randn(shape, generator=draw),
        torch.randn((3, 7, config.cross_attention_dim), generator=draw),
    )


def assert_alike(found: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-5 * float(expected.abs().max()))


def matrices(gradients: torch.Tensor, layers: dict[str, nn.Module]) -> dict[str, torch.Tensor]:
    """Gradients (B, P) as one matrix (B, out, in) per layer."""
    sizes = [parameter_count({name: module}) for name, module in layers.items()]
    return {
        name: as_matrix(part, matrix_shape(module), bias=module.bias is not None)
        for (name, module), part in zip(layers.items(), gradients.split(sizes, dim=1), strict=True)
    }


@pytest.mark.parametrize("passes", [4, 6, 13, 64])
def test_it_is_the_projected_gradient_however_passes_are_batched(
    random_generator: Generator, examples: Examples, passes: int
) -> None:
    layers = chosen_layers(random_generator.unet, "attn")
    projection = SparseSigns(parameter_count(layers), SIZE, 1)
    gradients = per_sample_gradients(random_generator, examples, DRAWS, layers, draw_weights=WEIGHTS)
    sketch = ProjectedLayers(layers, projection)
    found = gradient_sketches(random_generator, examples, DRAWS, sketch, draw_weights=WEIGHTS, passes=passes)
    assert_alike(found, projection.project(gradients))


def test_whitening_comes_before_the_projection(random_generator: Generator, examples: Examples) -> None:
    layers = chosen_layers(random_generator.unet, "attn")
    projection = SparseSigns(parameter_count(layers), SIZE, 1)
    fisher = fit_ekfac(random_generator, examples, DRAWS, layers)
    gradients = per_sample_gradients(random_generator, examples, DRAWS, layers)
    sketch = ProjectedLayers(layers, projection, fisher.layer_whitening(damping=0.01))
    found = gradient_sketches(random_generator, examples, DRAWS, sketch)
    assert_alike(found, projection.project(fisher.whitened(gradients, damping=0.01)))


@pytest.mark.parametrize("kind", ["two-sided", "masks"])
@pytest.mark.parametrize("passes", [4, 64])
def test_factors_are_mapped_as_the_gradient_would_be(
    random_generator: Generator, examples: Examples, kind: str, passes: int
) -> None:
    layers = chosen_layers(random_generator.unet, "attn")
    maps = two_sided(layers, 3, 5, 1) if kind == "two-sided" else factor_masks(layers, 0.5, 1)
    whole = matrices(per_sample_gradients(random_generator, examples, DRAWS, layers), layers)
    mapped = torch.cat([_slow(maps[name], whole[name]).flatten(1) for name in layers], dim=1)
    for projection in (None, SparseSigns(mapped.shape[1], SIZE, 1)):
        found = gradient_sketches(
            random_generator, examples, DRAWS, ProjectedFactors(layers, maps, projection), passes=passes
        )
        assert_alike(found, mapped if projection is None else projection.project(mapped))


def _slow(one: FactorMap, gradients: torch.Tensor) -> torch.Tensor:
    """The definition, entry by entry of the kept rows and columns, or as a product of three matrices."""
    if one.outputs.is_floating_point():
        return torch.einsum("boi,od,ie->bde", gradients, one.outputs, one.inputs)
    return one.scale * gradients[:, one.outputs][:, :, one.inputs]


def test_mapping_the_gradient_is_mapping_its_factors(random_generator: Generator) -> None:
    draw = torch.Generator().manual_seed(1)
    inputs, outputs = torch.randn(2, 9, 12, generator=draw), torch.randn(2, 9, 8, generator=draw)
    layers: dict[str, nn.Module] = {"layer": nn.Linear(12, 8, bias=False)}
    for maps in (two_sided(layers, 4, 5, 3), factor_masks(layers, 0.4, 3)):
        gradient = outputs.transpose(1, 2) @ inputs
        torch.testing.assert_close(
            maps["layer"].of_factors(inputs, outputs), maps["layer"].of_gradient(gradient)
        )


def test_lengths_are_kept_in_expectation() -> None:
    layers: dict[str, nn.Module] = {"layer": nn.Linear(40, 30, bias=False)}
    gradients = torch.randn(1, 30, 40, generator=torch.Generator().manual_seed(1))
    true = float(gradients.square().sum())
    for maps in (lambda seed: two_sided(layers, 10, 10, seed), lambda seed: factor_masks(layers, 0.4, seed)):
        found = torch.tensor(
            [float(maps(seed)["layer"].of_gradient(gradients).square().sum()) for seed in range(50)]
        )
        assert abs(float(found.mean()) / true - 1) < 4 * float(found.std()) / true / 50**0.5


def test_a_gradient_that_is_nan_is_refused_with_its_picture(
    random_generator: Generator, examples: Examples
) -> None:
    layers = chosen_layers(random_generator.unet, "attn")
    latents = examples.latents.clone()
    latents[1, 0, 0, 0] = float("nan")
    sketch = ProjectedLayers(layers, SparseSigns(parameter_count(layers), SIZE, 1))
    with pytest.raises(InvalidInput, match=r"the gradient of 'two' at layer .* is NaN or infinite"):
        gradient_sketches(random_generator, replace(examples, latents=latents), DRAWS, sketch)


def test_maps_of_other_layers_are_refused(random_generator: Generator) -> None:
    layers = chosen_layers(random_generator.unet, "attn")
    with pytest.raises(InvalidInput, match="the projection takes 7 numbers, but the layers give"):
        ProjectedLayers(layers, SparseSigns(7, 2, 1))
    with pytest.raises(InvalidInput, match="the projection takes 7 numbers, but the layers give"):
        ProjectedFactors(layers, two_sided(layers, 2, 2, 1), SparseSigns(7, 2, 1))
    with pytest.raises(InvalidInput, match="type GroupNorm has no two factors"):
        two_sided({"norm": nn.GroupNorm(2, 4)}, 2, 2, 1)
    with pytest.raises(InvalidInput, match=r"fraction 1.5 of a mask is out of range"):
        factor_masks(layers, 1.5, 1)
