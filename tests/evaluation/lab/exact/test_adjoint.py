"""Exact effects: against finite differences of whole trainings, and independent of where they are resumed."""

from __future__ import annotations

import torch
from torch import Tensor

from creditline.evaluation.lab.exact.adjoint import Adjoints, segment_back
from creditline.evaluation.lab.exact.optimiser import State
from creditline.evaluation.lab.exact.training import WeightedTraining


def _query_loss(training: WeightedTraining, weights: Tensor) -> Tensor:
    """A query's loss: that of a batch which no step of the training draws."""
    return training.losses(training.model.split(weights), training.step_inputs(1_000)).sum()


def _query_gradient(training: WeightedTraining, weights: Tensor) -> Tensor:
    leaf = weights.detach().requires_grad_()
    return torch.autograd.grad(_query_loss(training, leaf), leaf)[0]


def _effects(training: WeightedTraining, segment: int) -> Tensor:
    kept: dict[int, State] = {}
    end = training.run(torch.ones(training.works, dtype=torch.float64), keep=kept.__setitem__)
    gradient = _query_gradient(training, end.average)
    adjoints = Adjoints.at_end([gradient, 2.0 * gradient], training.works)
    for first in reversed(range(0, training.optimiser.steps, segment)):
        adjoints = segment_back(training, kept[first], range(first, first + segment), adjoints)
    return adjoints.effects


def test_effects_are_the_finite_differences_of_whole_trainings(tiny_training: WeightedTraining) -> None:
    effects = _effects(tiny_training, segment=4)
    step = 1e-5
    for work in range(tiny_training.works):
        losses = []
        for change in (step, -step):
            of_works = torch.ones(tiny_training.works, dtype=torch.float64)
            of_works[work] += change
            losses.append(float(_query_loss(tiny_training, tiny_training.run(of_works).average)))
        difference = (losses[0] - losses[1]) / (2 * step)
        torch.testing.assert_close(float(effects[0, work]), difference, rtol=1e-6, atol=1e-9)
    assert float(effects.abs().max()) > 1e-3


def test_effects_do_not_depend_on_the_length_of_segments(tiny_training: WeightedTraining) -> None:
    torch.testing.assert_close(_effects(tiny_training, segment=2), _effects(tiny_training, segment=8))


def test_effects_are_linear_in_the_querys_gradient(tiny_training: WeightedTraining) -> None:
    once, twice = _effects(tiny_training, segment=8)
    torch.testing.assert_close(2.0 * once, twice)
