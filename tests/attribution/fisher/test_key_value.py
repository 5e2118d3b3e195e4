"""EK-FAC, compared with plain loops and with the exact Fisher of a small model."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from creditline.attribution.fisher.key_value import DAMPING, FactorBlock, Fisher, ekfac_fisher

_WIDTHS = (3, 2)
_TEXT = 4


def _factors(examples: int, tokens: int) -> FactorBlock:
    generator = torch.Generator().manual_seed(examples)
    # Correlated numbers: otherwise every basis would be as good as any other.
    mixing = torch.randn((5, 5), generator=generator)
    outputs = torch.randn((examples, tokens, sum(_WIDTHS)), generator=generator) @ mixing
    text = torch.randn((examples, tokens, _TEXT), generator=generator) @ mixing[:4, :4]
    return outputs, text


def _fisher(factors: FactorBlock, *, block: int) -> Fisher:
    def blocks() -> Iterator[FactorBlock]:
        yield from zip(factors[0].split(block), factors[1].split(block), strict=True)

    return ekfac_fisher(blocks, _WIDTHS)


def _exact(factors: FactorBlock) -> list[Tensor]:
    """Each layer's Fisher written out: mean over examples of vec(G) vec(G).T."""
    dense = factors[0].transpose(1, 2) @ factors[1]
    return [
        torch.einsum("ni,nj->ij", part.flatten(1), part.flatten(1)) / len(part)
        for part in dense.split(_WIDTHS, dim=1)
    ]


def _written_out(fisher: Fisher) -> list[Tensor]:
    """Each layer's Fisher that the eigenvectors and eigenvalues stand for."""
    layers = zip(fisher.outputs, fisher.eigenvalues.split(_WIDTHS), strict=True)
    full = []
    for basis, values in layers:
        vectors = torch.kron(basis, fisher.text)
        full.append(vectors @ torch.diag(values.flatten()) @ vectors.T)
    return full


@pytest.mark.parametrize("block", [1, 4, 11])
def test_eigenvalues_are_mean_squares_of_rotated_gradients_however_they_are_blocked(block: int) -> None:
    outputs, text = _factors(11, tokens=6)
    fisher = _fisher((outputs, text), block=block)
    plain = torch.zeros(sum(_WIDTHS), _TEXT)
    for at_outputs, seen in zip(outputs, text, strict=True):
        layers = (at_outputs.T @ seen).split(_WIDTHS)
        rotated = [basis.T @ layer @ fisher.text for basis, layer in zip(fisher.outputs, layers, strict=True)]
        plain += torch.cat(rotated) ** 2 / 11
    torch.testing.assert_close(fisher.eigenvalues, plain, rtol=1e-4, atol=1e-5)


def test_it_is_the_best_diagonal_in_its_basis_and_nearer_to_the_exact_fisher_than_the_plain_diagonal() -> (
    None
):
    factors = _factors(400, tokens=1)
    for exact, found in zip(_exact(factors), _written_out(_fisher(factors, block=64)), strict=True):
        assert float(found.trace()) == pytest.approx(float(exact.trace()), rel=1e-4)
        plain = torch.diag(exact.diagonal())
        assert float((found - exact).norm()) < 0.5 * float((plain - exact).norm())


def test_with_one_token_and_independent_factors_it_is_the_exact_fisher() -> None:
    """Every pair of an output's gradient and a text, once each: the second moments factor exactly."""
    outputs, text = _factors(7, tokens=1)
    pairs = (outputs.repeat_interleave(7, dim=0), text.repeat(7, 1, 1))
    for exact, found in zip(_exact(pairs), _written_out(_fisher(pairs, block=49)), strict=True):
        torch.testing.assert_close(found, exact, rtol=1e-3, atol=1e-3 * float(exact.abs().max()))


def test_the_natural_gradient_solves_the_damped_system() -> None:
    factors = _factors(30, tokens=3)
    fisher = _fisher(factors, block=30)
    gradient = torch.randn((sum(_WIDTHS), _TEXT), generator=torch.Generator().manual_seed(1))
    natural = fisher.natural(gradient)
    layers = zip(
        _written_out(fisher),
        natural.split(_WIDTHS),
        gradient.split(_WIDTHS),
        fisher.eigenvalues.split(_WIDTHS),
        strict=True,
    )
    for full, solved, wanted, values in layers:
        damped = full + DAMPING * values.mean() * torch.eye(len(full))
        torch.testing.assert_close(damped @ solved.flatten(), wanted.flatten(), rtol=1e-3, atol=1e-3)


def test_a_direction_without_gradients_in_the_corpus_gets_a_finite_step() -> None:
    outputs, text = _factors(5, tokens=2)
    text[..., 0] = 0.0
    assert torch.isfinite(_fisher((outputs, text), block=5).natural(torch.ones(sum(_WIDTHS), _TEXT))).all()


def test_the_fisher_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="no examples"):
        ekfac_fisher(lambda: (), _WIDTHS)


def test_a_layer_without_gradients_takes_no_part_in_the_step() -> None:
    outputs, text = _factors(6, 3)
    outputs[..., : _WIDTHS[0]] = 0.0
    natural = _fisher((outputs, text), block=6).natural(torch.ones(sum(_WIDTHS), _TEXT))
    assert (natural[: _WIDTHS[0]] == 0).all()
    assert (natural[_WIDTHS[0] :] != 0).all()
    assert natural.isfinite().all()
