"""Exact effects: against finite differences of whole trainings, and independent of where they are resumed."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from creditline.evaluation.lab.exact.adjoint import Adjoints, segment_back, step_back
from creditline.evaluation.lab.exact.optimiser import State, advance
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


@pytest.fixture(scope="module")
def effects(tiny_training: WeightedTraining) -> Tensor:
    return _effects(tiny_training, segment=4)


def test_effects_are_the_finite_differences_of_whole_trainings(
    tiny_training: WeightedTraining, effects: Tensor
) -> None:
    step = 1e-5
    for work in range(tiny_training.works):
        losses = []
        for change in (step, -step):
            of_works = torch.ones(tiny_training.works, dtype=torch.float64)
            of_works[work] += change
            losses.append(float(_query_loss(tiny_training, tiny_training.run(of_works).average)))
        difference = (losses[0] - losses[1]) / (2 * step)
        torch.testing.assert_close(float(effects[0, work]), difference, rtol=1e-5, atol=1e-7)
    assert float(effects.abs().max()) > 1e-3


def test_a_step_back_is_that_of_a_second_backward_pass(tiny_training: WeightedTraining) -> None:
    state = tiny_training.run(torch.ones(tiny_training.works, dtype=torch.float64), steps=range(3))
    adjoint = State(*(torch.randn_like(state.weights) for _ in range(4)))
    before = step_back(
        tiny_training, state, 3, Adjoints((adjoint,), torch.zeros(1, tiny_training.works).double())
    )
    leaves = [part.detach().requires_grad_() for part in vars(state).values()]
    of_works = torch.ones(tiny_training.works, dtype=torch.float64, requires_grad=True)
    start, inputs = State(*leaves), tiny_training.step_inputs(3)
    losses = tiny_training.losses(tiny_training.model.split(start.weights), inputs)
    loss = (of_works[inputs.rows] * losses).mean()
    (gradient,) = torch.autograd.grad(loss, start.weights, create_graph=True)
    after = advance(tiny_training.optimiser, start, gradient, 3)
    total = sum((getattr(after, name) * getattr(adjoint, name)).sum() for name in vars(adjoint))
    *expected, effects = torch.autograd.grad(total, [*leaves, of_works])
    for found, wanted in zip(vars(before.states[0]).values(), expected, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(before.effects[0], effects, rtol=1e-5, atol=1e-6)


def test_effects_do_not_depend_on_the_length_of_segments(
    tiny_training: WeightedTraining, effects: Tensor
) -> None:
    torch.testing.assert_close(_effects(tiny_training, segment=8), effects, rtol=1e-5, atol=1e-7)


def test_effects_are_linear_in_the_querys_gradient(effects: Tensor) -> None:
    torch.testing.assert_close(2.0 * effects[0], effects[1], rtol=1e-5, atol=1e-7)
