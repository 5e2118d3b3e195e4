"""Derivatives of queries' losses with respect to the works' weights, through all steps of a training.

MAGIC (arXiv 2504.16430): under a fixed seed and order the trained model is a function of the works' weights,
and reverse-mode differentiation through every step gives the effect of each work. The states of the training
are not all kept: they are replayed from checkpoints, segment by segment, from the last to the first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from creditline.evaluation.lab.exact.optimiser import State, reversal
from creditline.evaluation.lab.exact.training import StepInputs, WeightedTraining

# Length of the step of a difference quotient, in units of the weights' norm. In float32 the products then
# differ from second backward passes by 0.1 % (at 2·10⁻⁵ by 0.3 %, at 10⁻⁶ by 0.4 %, of rounding).
_DISTANCE = {torch.float32: 5e-6, torch.float64: 1e-8}


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

    The product of the loss's second derivative with a vector u is the difference quotient of its gradient
    along u, and so is each work's part: one gradient more for each query, half the price of a second
    backward pass. Its error is stated at `_DISTANCE`.

    Args:
        training: The training.
        state: State before the step.
        step: Number of the step, from 0.
        after: Adjoints of the state after the step.
    """
    inputs = training.step_inputs(step)
    losses, gradient = _losses_and_gradient(training, state.weights, inputs)
    chain = reversal(training.optimiser, state, gradient, step)
    distance = _DISTANCE[state.weights.dtype] * state.weights.norm()
    states, effects = [], after.effects.clone()
    for query, adjoint in enumerate(after.states):
        before, along = chain.back(adjoint)
        length = float(distance / along.norm()) if along.any() else 1.0
        moved, there = _losses_and_gradient(training, state.weights.add(along, alpha=length), inputs)
        before.weights.add_(there.sub_(gradient), alpha=1.0 / length)
        of_draws = (moved.double() - losses.double()) / (length * len(losses))
        effects[query].index_add_(0, inputs.rows, of_draws)
        states.append(before)
    return Adjoints(tuple(states), effects)


def _losses_and_gradient(
    training: WeightedTraining, weights: Tensor, inputs: StepInputs
) -> tuple[Tensor, Tensor]:
    """Losses of a step's draws, (B,), and the gradient of their mean, (P,)."""
    leaf = weights.detach().requires_grad_()
    losses = training.losses(training.model.split(leaf), inputs)
    return losses.detach(), torch.autograd.grad(losses.mean(), leaf)[0]


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
