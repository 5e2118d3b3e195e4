"""Attribution by unlearning (arXiv 2406.09408): unlearn the query and measure the works' losses afterwards.

One natural-gradient ascent step on the query's loss gives θ₋ = θ₀ + s · F⁻¹ · ∇L(query, θ₀). The influence of
a work is its loss under θ₋ minus its loss under θ₀, at the same noise. The step size s is the smallest that
raises the query's loss by `RISE`, at noise that the gradient was not computed with.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from creditline.attribution.gradients.key_value import key_value_projections, moved_weights
from creditline.errors import InvalidInput
from creditline.generator.losses import Draws, Examples, denoising_losses
from creditline.generator.pipeline import Generator

# Relative rise of the query's loss.
RISE = 0.10
_TOLERANCE = 0.02
_MAX_TRIALS = 12


@dataclass(frozen=True)
class Step:
    """A step that unlearns a query, and its effect on the query's loss."""

    change: Tensor
    """Change of the weights: (D, E) float32."""
    size: float
    """Step size s."""
    loss_before: float
    """The query's loss under θ₀."""
    loss_after: float
    """The query's loss under θ₋."""

    @property
    def rise(self) -> float:
        """Ratio of the query's loss after the step to the loss before."""
        return self.loss_after / self.loss_before


def refuse_without_slope(loss: float, slope: float, query: Examples) -> None:
    """Refuse a query whose loss no step can raise, before a step size is computed from both numbers.

    Args:
        loss: The query's loss.
        slope: Derivative of the loss along the direction of the step.
        query: The query, one example, or several that are unlearned together; named in the error.

    Raises:
        InvalidInput: The loss or the slope is 0 or not finite: the query has no gradient at these weights.
    """
    if not 0.0 < slope < math.inf or not 0.0 < loss < math.inf:
        raise InvalidInput(
            f"{query.ids[0]!r} cannot be unlearned: its loss is {loss:.3g}, and its slope along the"
            f" natural gradient is {slope:.3g}; both must be above 0: check that picture and prompt come from"
            " this generator, or choose other parameters",
            field="image",
        )


def size_for_rise(loss_at: Callable[[float], float], first_guess: float, *, rise: float) -> float:
    """Find the step size at which the loss is (1 + rise) times the loss at size 0, within a tolerance.

    The first guess is doubled until the rise is reached; then the interval is bisected.

    Args:
        loss_at: The query's loss at a step size.
        first_guess: Step size to start from, above 0.
        rise: Relative rise of the loss.

    Raises:
        InvalidInput: No step size that was tried reaches the rise.
    """
    before = loss_at(0.0)
    low, high = 0.0, first_guess
    for _ in range(_MAX_TRIALS):
        if loss_at(high) >= before * (1.0 + rise):
            break
        low, high = high, high * 2.0
    else:
        raise InvalidInput(
            f"the query's loss cannot be raised by {rise:.0%}, because the generator has not learned this"
            " picture with this prompt; check that both come from this generator",
            field="image",
        )
    for _ in range(_MAX_TRIALS):
        middle = (low + high) / 2.0
        reached = loss_at(middle) / before - 1.0
        if abs(reached - rise) <= _TOLERANCE:
            return middle
        low, high = (middle, high) if reached < rise else (low, middle)
    return high


def unlearning_step(
    generator: Generator,
    query: Examples,
    gradient: Tensor,
    direction: Tensor,
    *,
    check: Draws,
    rise: float = RISE,
) -> Step:
    """Find the step along a direction that raises the query's loss by `rise`.

    Args:
        generator: The generator; its weights are unchanged afterwards.
        query: The query, one example.
        gradient: Gradient of the query's loss: (D, E) float32.
        direction: Natural gradient of the query's loss: (D, E) float32.
        check: Draws at which the rise is measured, other than those of the gradient.
        rise: Relative rise of the query's loss.

    Raises:
        InvalidInput: The loss cannot be raised by that much, or has no gradient.
    """
    projections = key_value_projections(generator.unet)
    slope = float((direction * gradient).sum())

    def loss_at(size: float) -> float:
        with moved_weights(projections, size * direction):
            return float(denoising_losses(generator, query, check).mean())

    before = loss_at(0.0)
    refuse_without_slope(before, slope, query)
    size = size_for_rise(loss_at, rise * before / slope, rise=rise)
    return Step(size * direction, size, before, loss_at(size))


def losses_after(generator: Generator, step: Step, works: Examples, draws: Draws) -> Tensor:
    """Losses of the works under the weights after a step.

    Args:
        generator: The generator; its weights are unchanged afterwards.
        step: The step that unlearns a query.
        works: The works, N of them.
        draws: Timesteps and noises of the losses.

    Returns:
        Losses: (N, draws) float32.
    """
    with moved_weights(key_value_projections(generator.unet), step.change):
        return denoising_losses(generator, works, draws)
