"""Unlearning scores, on losses small enough for a calculation by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from creditline.attribution.unlearning.scores import (
    UNLEARNING_SCORES,
    loss_difference,
    relative_difference,
    skew,
    unlearning_score_by_name,
)
from creditline.errors import InvalidInput
from creditline.generator.losses import Draws

DRAWS = Draws(timesteps=2, repeats=2)
# Two works; the first timestep's losses are a tenth of the second's.
BEFORE = torch.tensor([[1.0, 1.0, 10.0, 10.0], [3.0, 3.0, 30.0, 30.0]])
AFTER = torch.tensor([[2.0, 2.0, 10.0, 10.0], [3.0, 3.0, 36.0, 30.0]])


def test_the_difference_is_the_mean_rise_over_all_draws() -> None:
    assert loss_difference(BEFORE, AFTER, DRAWS).tolist() == [0.5, 1.5]


def test_the_relative_difference_counts_each_timestep_in_units_of_its_mean_loss() -> None:
    """Mean losses are 2 and 20, hence weights in the ratio 10 to 1 with mean 1."""
    expected = [(1.0 + 1.0) * 20 / 11 / 4, 6.0 * 2 / 11 / 4]
    assert relative_difference(BEFORE, AFTER, DRAWS) == pytest.approx(expected)


def test_the_skew_is_the_mean_of_each_draws_own_ratio() -> None:
    expected = [(1 / 3.001 + 1 / 3.001) / 4, 6 / 66.001 / 4]
    assert skew(BEFORE, AFTER, DRAWS) == pytest.approx(expected)


def test_the_skew_does_not_see_the_scale_of_a_draws_losses() -> None:
    scale = torch.tensor([7.0, 0.5, 100.0, 3.0])
    large_before, large_after = 1e4 * BEFORE, 1e4 * AFTER
    expected = skew(large_before, large_after, DRAWS)
    assert skew(scale * large_before, scale * large_after, DRAWS) == pytest.approx(expected, rel=1e-5)


def test_the_skew_stays_within_1_even_where_a_loss_was_0() -> None:
    nothing, something = torch.zeros((1, 4)), torch.full((1, 4), 2.0)
    assert skew(nothing, something, DRAWS) == pytest.approx([2 / 2.001])
    assert skew(something, nothing, DRAWS) == pytest.approx([-2 / 2.001])
    assert skew(nothing, nothing, DRAWS).tolist() == [0.0]


@pytest.mark.parametrize("name", sorted(UNLEARNING_SCORES))
def test_more_forgotten_means_a_higher_score(name: str) -> None:
    score = unlearning_score_by_name(name)
    before = torch.rand((5, 4), generator=torch.Generator().manual_seed(1)) + 0.5
    by_rise = [score(before, before + rise, DRAWS) for rise in (-0.2, 0.0, 0.1, 0.4)]
    assert np.all(np.diff(by_rise, axis=0) > 0)
    assert by_rise[1].tolist() == [0.0] * 5
    assert by_rise[1].dtype == np.float64


@pytest.mark.parametrize("name", sorted(UNLEARNING_SCORES))
def test_each_works_score_goes_with_its_work(name: str) -> None:
    order = torch.tensor([1, 0])
    score = unlearning_score_by_name(name)
    turned = score(BEFORE[order], AFTER[order], DRAWS)
    assert turned == pytest.approx(score(BEFORE, AFTER, DRAWS)[::-1])


def test_an_unknown_score_is_refused_with_the_known_ones() -> None:
    with pytest.raises(
        InvalidInput, match="unknown score 'ratio'; choose one of difference, relative, skew"
    ) as refused:
        unlearning_score_by_name("ratio")
    assert refused.value.field == "score"
