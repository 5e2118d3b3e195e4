"""The Fisher's diagonal and its inverse, held against plain loops."""

from __future__ import annotations

import pytest
import torch

from creditline.attribution.fisher import DAMPING, diagonal_fisher, inverse_fisher


def test_the_fisher_is_the_mean_square_of_each_weights_gradient_however_it_is_blocked() -> None:
    gradients = torch.randn((11, 4, 3), generator=torch.Generator().manual_seed(0))
    plain = torch.zeros(4, 3)
    for gradient in gradients:
        plain += gradient**2 / 11
    for size in (1, 4, 11):
        torch.testing.assert_close(diagonal_fisher(gradients.split(size)), plain)


def test_the_fisher_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="no examples"):
        diagonal_fisher([])


def test_each_layer_is_damped_by_its_own_mean() -> None:
    fisher = torch.cat([torch.full((2, 3), 4.0), torch.tensor([[0.0, 1.0, 2.0]])])
    inverse = inverse_fisher(fisher, [2, 1])
    torch.testing.assert_close(inverse[:2], torch.full((2, 3), 1 / (4.0 + DAMPING * 4.0)))
    expected = torch.tensor([[1 / 0.1, 1 / 1.1, 1 / 2.1]])
    torch.testing.assert_close(inverse[2:], expected)


def test_a_weight_that_the_corpus_says_nothing_about_gets_a_finite_step() -> None:
    fisher = torch.tensor([[0.0, 1e-3]])
    assert torch.isfinite(inverse_fisher(fisher, [1])).all()
    assert float(inverse_fisher(fisher, [1])[0, 0]) == pytest.approx(1 / (0.1 * 0.5e-3), rel=1e-4)
