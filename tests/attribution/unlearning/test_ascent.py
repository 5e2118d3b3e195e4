"""Unlearning: the search for the step size, and the effect of a step on the query and the weights."""

from __future__ import annotations

import math

import pytest
import torch

from creditline.attribution.gradients.key_value import key_value_projections
from creditline.attribution.unlearning.ascent import size_for_rise
from creditline.errors import InvalidInput
from creditline.generator.pipeline import Generator


@pytest.mark.parametrize("first_guess", [1e-3, 0.02, 0.3, 5.0])
@pytest.mark.parametrize("rise", [0.05, 0.1, 0.5])
def test_the_size_lifts_the_loss_by_the_rise_whatever_the_first_guess(
    first_guess: float, rise: float
) -> None:
    def loss_at(size: float) -> float:
        return 2.0 * math.exp(size)

    size = size_for_rise(loss_at, first_guess, rise=rise)
    assert loss_at(size) / loss_at(0.0) - 1.0 == pytest.approx(rise, abs=0.021)


def test_a_loss_that_falls_at_first_is_followed_until_it_rises() -> None:
    """A small step can lower the loss at noise that the gradient did not see."""

    def loss_at(size: float) -> float:
        return 1.0 - 0.2 * size + 0.1 * size**2

    size = size_for_rise(loss_at, 0.1, rise=0.1)
    assert size > 2.0
    assert loss_at(size) == pytest.approx(1.1, abs=0.021)


def test_it_evaluates_few_losses_since_each_costs_many_passes() -> None:
    asked: list[float] = []

    def loss_at(size: float) -> float:
        asked.append(size)
        return 1.0 + size

    size_for_rise(loss_at, 0.09, rise=0.1)
    assert len(asked) <= 6


def test_a_loss_that_cannot_be_raised_is_refused_with_advice() -> None:
    with pytest.raises(
        InvalidInput, match=r"cannot be raised by 10%.*check that both come from this generator"
    ):
        size_for_rise(lambda size: 1.0, 1.0, rise=0.1)


def test_keys_and_values_of_the_cross_attention_are_moved_and_nothing_else(
    random_generator: Generator,
) -> None:
    names = list(key_value_projections(random_generator.unet))
    assert names
    assert all("attn2.to_k" in name or "attn2.to_v" in name for name in names)
    others = [name for name, module in random_generator.unet.named_modules() if name.endswith("attn2.to_k")]
    assert sum(name.endswith("to_k") for name in names) == len(others) == len(names) / 2
    assert all(torch.isfinite(m.weight).all() for m in key_value_projections(random_generator.unet).values())
