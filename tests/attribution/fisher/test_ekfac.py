"""EK-FAC of general layers, against the Fisher of small models as one explicit matrix."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from creditline.attribution.fisher.ekfac import EkfacFisher, LayerFisher, as_matrix, as_vector, fit_ekfac
from creditline.attribution.fisher.key_value import ekfac_fisher
from creditline.attribution.gradients.key_value import gradient_factors, key_value_projections, output_widths
from creditline.attribution.gradients.parameters import chosen_layers
from creditline.attribution.gradients.per_sample import parameter_count, per_sample_gradients
from creditline.errors import InvalidInput
from creditline.generator.losses import Draws, Examples
from creditline.generator.pipeline import Generator

DRAWS = Draws(timesteps=2, repeats=2, salt="test")


def encoded(generator: Generator, count: int) -> Examples:
    draw = torch.Generator().manual_seed(7)
    config = generator.unet.config
    latents = torch.randn((count, config.in_channels, config.sample_size, config.sample_size), generator=draw)
    text = torch.randn((count, 7, config.cross_attention_dim), generator=draw)
    return Examples(tuple(f"work-{number}" for number in range(count)), latents, text)


def orthogonal(size: int, seed: int) -> Tensor:
    return torch.linalg.qr(torch.randn((size, size), generator=torch.Generator().manual_seed(seed)))[0]


def dense_fisher(fisher: EkfacFisher, *, damping: float) -> Tensor:
    """F + damping, written out for a gradient's numbers in their order."""
    blocks = []
    for name, factor in fisher.layers.items():
        outputs = torch.eye(len(factor.eigenvalues)) if factor.outputs is None else factor.outputs
        inputs = torch.eye(factor.eigenvalues.shape[1]) if factor.inputs is None else factor.inputs
        basis = torch.kron(outputs.contiguous(), inputs.contiguous())
        matrix = basis @ torch.diag(factor.damped(damping).flatten()) @ basis.T
        # Rows (out, in) with the bias last in each; a gradient has all biases at its end.
        numbers = torch.arange(factor.eigenvalues.numel()).view(1, *factor.eigenvalues.shape)
        order = as_vector(numbers, bias=fisher.has_bias[name])[0]
        blocks.append(matrix[order][:, order])
    return torch.block_diag(*blocks)


@pytest.fixture
def written_out() -> EkfacFisher:
    draw = torch.Generator().manual_seed(3)
    return EkfacFisher(
        {
            "linear": LayerFisher(orthogonal(3, 1), orthogonal(5, 2), torch.rand((3, 5), generator=draw)),
            "norm": LayerFisher(None, None, torch.rand((4, 1), generator=draw)),
        },
        {"linear": True, "norm": False},
    )


def test_the_natural_gradient_solves_the_damped_fisher(written_out: EkfacFisher) -> None:
    gradients = torch.randn((6, 19), generator=torch.Generator().manual_seed(4))
    expected = torch.linalg.solve(dense_fisher(written_out, damping=0.3), gradients.T).T
    torch.testing.assert_close(written_out.natural(gradients, damping=0.3), expected, rtol=1e-4, atol=1e-5)


def test_whitened_rows_have_the_fishers_inner_products(written_out: EkfacFisher) -> None:
    gradients = torch.randn((6, 19), generator=torch.Generator().manual_seed(4))
    whitened = written_out.whitened(gradients, damping=0.3)
    expected = gradients @ written_out.natural(gradients, damping=0.3).T
    torch.testing.assert_close(whitened @ whitened.T, expected, rtol=1e-4, atol=1e-5)


def test_a_bias_is_the_matrixs_last_column_and_comes_back_to_its_place() -> None:
    vector = torch.arange(15.0)[None]
    matrix = as_matrix(vector, (3, 5), bias=True)
    assert matrix[0, :, 4].tolist() == [12.0, 13.0, 14.0]
    assert torch.equal(as_vector(matrix, bias=True), vector)


def test_with_a_single_position_the_fisher_is_exact(random_generator: Generator) -> None:
    """One example and one pass: its Fisher is g gᵀ, diagonal in EK-FAC's basis of a single place."""
    layers = {"time_embedding.linear_1": random_generator.unet.time_embedding.linear_1}
    example, one_pass = encoded(random_generator, 1), Draws(timesteps=1, repeats=1)
    gradient = per_sample_gradients(random_generator, example, one_pass, layers)
    fisher = fit_ekfac(random_generator, example, one_pass, layers)
    damping = 0.5
    added = damping * float(gradient.square().sum()) / gradient.numel()
    exact = gradient / (gradient.square().sum() + added)
    torch.testing.assert_close(
        fisher.natural(gradient, damping=damping), exact, rtol=2e-2, atol=1e-2 * float(exact.abs().max())
    )


def test_eigenvalues_are_mean_squares_of_rotated_gradients(random_generator: Generator) -> None:
    works = encoded(random_generator, 6)
    layers = chosen_layers(random_generator.unet, "all")
    fisher = fit_ekfac(random_generator, works, DRAWS, layers)
    gradients = per_sample_gradients(random_generator, works, DRAWS, layers)
    assert gradients.shape[1] == parameter_count(layers)
    start = 0
    for name, factor in fisher.layers.items():
        size = factor.eigenvalues.numel()
        rows = as_matrix(
            gradients[:, start : start + size], factor.eigenvalues.shape, bias=fisher.has_bias[name]
        )
        expected = factor.rotated(rows).square().mean(dim=0)
        torch.testing.assert_close(
            factor.eigenvalues, expected, rtol=2e-2, atol=1e-4 * float(expected.max()), msg=name
        )
        start += size


def test_on_the_cross_attention_it_is_the_teachers_fisher(random_generator: Generator) -> None:
    works = encoded(random_generator, 8)
    projections = key_value_projections(random_generator.unet)
    factors = gradient_factors(random_generator, works, DRAWS)
    teachers = ekfac_fisher(lambda: [(factors.outputs, factors.text)], output_widths(projections))
    layers = chosen_layers(random_generator.unet, "cross-attn")
    ours = fit_ekfac(random_generator, works, DRAWS, layers)
    gradient = factors.dense()[2]
    flat = gradient.flatten()[None]
    expected = (teachers.natural(gradient) * gradient).sum()
    found = (ours.natural(flat) * flat).sum()
    # Their output bases differ: one is of averaged gradients, the other of each pass's.
    assert float(found) == pytest.approx(float(expected), rel=0.2)


def test_gradients_of_other_parameters_are_refused(written_out: EkfacFisher) -> None:
    with pytest.raises(InvalidInput, match="20 numbers do not fit a Fisher of 19"):
        written_out.natural(torch.zeros((1, 20)))


def test_without_an_eigenbasis_the_diagonal_is_mean_squares_of_gradients(random_generator: Generator) -> None:
    works, layers = encoded(random_generator, 5), chosen_layers(random_generator.unet, "attn")
    fisher = fit_ekfac(random_generator, works, DRAWS, layers, eigenbasis=False)
    rows = per_sample_gradients(random_generator, works, DRAWS, layers)
    sizes = [factor.eigenvalues.numel() for factor in fisher.layers.values()]
    for (name, factor), part in zip(fisher.layers.items(), rows.split(sizes, dim=1), strict=True):
        squares = as_matrix(part, factor.eigenvalues.shape, bias=fisher.has_bias[name]).square().mean(dim=0)
        torch.testing.assert_close(factor.eigenvalues, squares, rtol=1e-4, atol=1e-9)
        assert factor.outputs is None
