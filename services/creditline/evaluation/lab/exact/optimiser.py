"""AdamW as a function of its state, and its reverse: the optimiser of trainings that are differentiated.

The bound of the step is inside the root, m / √(v + ε²), so that the update has a derivative where a gradient
is 0. Gradients are not clipped.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class SmoothAdamW:
    """Hyperparameters of the optimiser and of the average of the weights."""

    steps: int
    """Number of steps of the whole training."""
    learning_rate: float
    """Peak learning rate."""
    epsilon: float
    """ε in m / √(v + ε²), in units of a gradient."""
    warm_up: float = 0.02
    """Fraction of the steps in which the learning rate rises linearly; then it falls to 0 as a cosine."""
    first_decay: float = 0.9
    """β₁, decay per step of the mean of the gradients."""
    second_decay: float = 0.999
    """β₂, decay per step of the mean of the squared gradients."""
    weight_decay: float = 1e-4
    """Decay of the weights, times the learning rate."""
    average_decay: float = 0.99
    """Largest decay per step of the average of the weights."""

    def rate(self, step: int) -> float:
        """Learning rate of a step, from 0: as `generator.training.learning_rate_at`."""
        warm_up_steps = max(1, round(self.warm_up * self.steps))
        if step < warm_up_steps:
            return self.learning_rate * (step + 1) / warm_up_steps
        done = (step - warm_up_steps) / max(1, self.steps - warm_up_steps)
        return self.learning_rate * 0.5 * (1.0 + math.cos(math.pi * min(1.0, done)))

    def averaging(self, step: int) -> float:
        """Decay of the average after a step, from 0: shorter at first."""
        return min(self.average_decay, (2 + step) / (11 + step))


@dataclass(frozen=True)
class State:
    """State of a training before a step, or its adjoint: the derivative of a loss with respect to it."""

    weights: Tensor
    """(P,) weights θ."""
    first: Tensor
    """(P,) mean of the gradients m."""
    second: Tensor
    """(P,) mean of the squared gradients v."""
    average: Tensor
    """(P,) average of the weights, which is the trained model."""

    @classmethod
    def start(cls, weights: Tensor) -> State:
        """The state before the first step, from initial weights (P,)."""
        return cls(weights, torch.zeros_like(weights), torch.zeros_like(weights), weights.clone())


def advance(optimiser: SmoothAdamW, state: State, gradient: Tensor, step: int) -> State:
    """One step of the optimiser.

    Args:
        optimiser: Its hyperparameters.
        state: State before the step.
        gradient: (P,) gradient of the training loss at the state's weights.
        step: Number of the step, from 0.
    """
    rate, kept = optimiser.rate(step), optimiser.averaging(step)
    first = torch.lerp(gradient, state.first, optimiser.first_decay)
    second = torch.lerp(gradient.square(), state.second, optimiser.second_decay)
    scaled, root = _direction(optimiser, first, second, step)
    weights = (1.0 - rate * optimiser.weight_decay) * state.weights - rate * scaled / root
    return State(weights, first, second, torch.lerp(weights, state.average, kept))


def _direction(optimiser: SmoothAdamW, first: Tensor, second: Tensor, step: int) -> tuple[Tensor, Tensor]:
    """Numerator and denominator of the update, without the bias of the zero start: both (P,)."""
    scaled = first / (1.0 - optimiser.first_decay ** (step + 1))
    root = (second / (1.0 - optimiser.second_decay ** (step + 1)) + optimiser.epsilon**2).sqrt()
    return scaled, root


@dataclass(frozen=True)
class Reversal:
    """The chain rule through one step of the optimiser (`advance`), for any number of adjoints."""

    kept: float
    """Derivative of the average with respect to the average before."""
    shrunk: float
    """Derivative of the weights with respect to the weights before, apart from the gradient."""
    first_decay: float
    """β₁."""
    second_decay: float
    """β₂."""
    to_first: Tensor
    """(P,) derivative of each weight with respect to the mean of the gradients."""
    to_second: Tensor
    """(P,) derivative of each weight with respect to the mean of the squared gradients."""
    square_rate: Tensor
    """(P,) derivative of the mean of the squared gradients with respect to the gradient."""

    def back(self, after: State) -> tuple[State, Tensor]:
        """Carry an adjoint back over the step.

        Args:
            after: Derivative of a loss with respect to the state after the step.

        Returns:
            Derivative with respect to the state before the step, without the part that goes through the
            gradient, and the derivative with respect to the gradient: (P,).
        """
        of_weights = torch.add(after.weights, after.average, alpha=1.0 - self.kept)
        of_first = torch.addcmul(after.first, of_weights, self.to_first)
        of_second = torch.addcmul(after.second, of_weights, self.to_second)
        of_gradient = (1.0 - self.first_decay) * of_first
        of_gradient.addcmul_(of_second, self.square_rate)
        before = State(
            of_weights.mul_(self.shrunk),
            of_first.mul_(self.first_decay),
            of_second.mul_(self.second_decay),
            self.kept * after.average,
        )
        return before, of_gradient


def reversal(optimiser: SmoothAdamW, state: State, gradient: Tensor, step: int) -> Reversal:
    """The chain rule through a step that was taken by `advance`.

    Args:
        optimiser: Its hyperparameters.
        state: State before the step.
        gradient: (P,) gradient of the training loss at the state's weights.
        step: Number of the step, from 0.
    """
    rate = optimiser.rate(step)
    first = torch.lerp(gradient, state.first, optimiser.first_decay)
    second = torch.lerp(gradient.square(), state.second, optimiser.second_decay)
    scaled, root = _direction(optimiser, first, second, step)
    return Reversal(
        kept=optimiser.averaging(step),
        shrunk=1.0 - rate * optimiser.weight_decay,
        first_decay=optimiser.first_decay,
        second_decay=optimiser.second_decay,
        to_first=-rate / (1.0 - optimiser.first_decay ** (step + 1)) / root,
        to_second=rate * scaled / (2.0 * root**3 * (1.0 - optimiser.second_decay ** (step + 1))),
        square_rate=2.0 * (1.0 - optimiser.second_decay) * gradient,
    )
