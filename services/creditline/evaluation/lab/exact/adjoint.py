"""Derivatives of queries' losses with respect to the works' weights, through all steps of a training.

MAGIC (arXiv 2504.16430): under a fixed seed and order the trained model is a function of the works' weights,
and reverse-mode differentiation through every step gives the effect of each work. The states of the training
are not all kept: they are replayed from checkpoints, segment by segment, from the last to the first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from creditline.evaluation.lab.exact.optimiser import State, reverse
from creditline.evaluation.lab.exact.training import WeightedTraining


@dataclass(frozen=True)
class Adjoints:
    """Derivatives of Q losses with respect to the state of a training before a step, and to the works."""

    states: tuple[State, ...]
    """(Q,) adjoint states."""
    effects: Tensor
    """(Q, N) derivatives with respect to each work's weight, of the steps from that state on."""

    @classmethod
    def at_end(cls, gradients: Sequence[Tensor], works: int) -> Adjoints:
        """The adjoints of a finished training.

        Args:
            gradients: For each query, the gradient (P,) of its loss with respect to the averaged weights.
            works: Number of works N.
        """
        zeros = [torch.zeros_like(gradient) for gradient in gradients]
        states = tuple(
            State(zero, zero, zero, gradient) for zero, gradient in zip(zeros, gradients, strict=True)
        )
        return cls(states, torch.zeros(len(gradients), works, dtype=torch.float64))


def step_back(training: WeightedTraining, state: State, step: int, after: Adjoints) -> Adjoints:
    """Carry adjoints back over one step of the training with all works at weight 1.

    Args:
        training: The training.
        state: State before the step.
        step: Number of the step, from 0.
        after: Adjoints of the state after the step.
    """
    inputs = training.step_inputs(step)
    leaf = state.weights.detach().requires_grad_()
    of_rows = torch.ones(len(inputs.rows), dtype=leaf.dtype, requires_grad=True)
    parts = training.model.split(leaf)
    loss = (of_rows * training.losses(parts, inputs)).mean()
    # Gradients of the parts, not of the flat vector: the second backward pass then has fewer copies.
    by_part = torch.autograd.grad(loss, list(parts.values()), create_graph=True)
    gradient = training.model.joined([part.detach() for part in by_part])
    states, effects = [], after.effects.clone()
    for query, adjoint in enumerate(after.states):
        before, of_gradient = reverse(training.optimiser, state, gradient, step, adjoint)
        wanted = list(training.model.split(of_gradient).values())
        *curvature, of_draws = torch.autograd.grad(
            by_part, [*parts.values(), of_rows], wanted, retain_graph=True
        )
        states.append(replace(before, weights=before.weights + training.model.joined(curvature)))
        effects[query].index_add_(0, inputs.rows, of_draws.double())
    return Adjoints(tuple(states), effects)


def segment_back(training: WeightedTraining, start: State, steps: range, after: Adjoints) -> Adjoints:
    """Carry adjoints back over consecutive steps, whose states are replayed from the first one.

    Args:
        training: The training.
        start: State before the first of the steps.
        steps: The steps.
        after: Adjoints of the state after the last step.
    """
    states: list[State] = []
    of_works = torch.ones(training.works, dtype=start.weights.dtype)
    training.run(of_works, start, steps, keep=lambda step, state: states.append(state))
    for step, state in zip(reversed(steps), reversed(states), strict=True):
        after = step_back(training, state, step, after)
    return after
