"""Attribution by unlearning (arXiv 2406.09408): make the model forget the query, see what else it forgets.

One natural-gradient ascent step on the query's own loss, θ₋ = θ₀ + s · F⁻¹ · ∇L(query, θ₀); the influence of
a work is its loss under θ₋ less its loss under θ₀, at the same noise. The step's size s is found by rule: the
smallest that lifts the query's loss, at noise that the gradient did not see, by `RISE`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from creditline.attribution.gradients.key_value import key_value_projections, moved_weights
from creditline.errors import InvalidInput
from creditline.generator.losses import Draws, Examples, denoising_losses
from creditline.generator.pipeline import Generator

# The query's loss rises by this much, relative to before.
RISE = 0.10
_TOLERANCE = 0.02
_MOST_TRIALS = 12


@dataclass(frozen=True)
class Step:
    """A step that forgets the query: `change` (D, E) float32 to the weights, and what it did to the query."""

    change: Tensor
    size: float
    loss_before: float
    loss_after: float

    @property
    def rise(self) -> float:
        """The query's loss after over before."""
        return self.loss_after / self.loss_before


def size_for_rise(loss_at: Callable[[float], float], first_guess: float, *, rise: float) -> float:
    """The step size at which `loss_at(size)` is (1 + rise) times `loss_at(0)`, within a tolerance.

    Doubles the first guess until the rise is reached, then bisects. Raises InvalidInput when no size
    reaches it.
    """
    before = loss_at(0.0)
    low, high = 0.0, first_guess
    for _ in range(_MOST_TRIALS):
        if loss_at(high) >= before * (1.0 + rise):
            break
        low, high = high, high * 2.0
    else:
        raise InvalidInput(
            f"the query's loss cannot be raised by {rise:.0%}: the generator does not know this picture with"
            " this prompt; check that both come from this generator",
            field="image",
        )
    for _ in range(_MOST_TRIALS):
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
    """Find the step along `direction` that lifts the query's loss by `rise`.

    query: one example; gradient: of its loss, (D, E); direction: its natural gradient, (D, E); check: draws
    that the gradient did not see.
    """
    projections = key_value_projections(generator.unet)
    slope = float((direction * gradient).sum())

    def loss_at(size: float) -> float:
        with moved_weights(projections, size * direction):
            return float(denoising_losses(generator, query, check).mean())

    before = loss_at(0.0)
    size = size_for_rise(loss_at, rise * before / slope, rise=rise)
    return Step(size * direction, size, before, loss_at(size))


def losses_after(generator: Generator, step: Step, works: Examples, draws: Draws) -> Tensor:
    """The works' losses under the moved weights: (N, draws) float32."""
    with moved_weights(key_value_projections(generator.unet), step.change):
        return denoising_losses(generator, works, draws)
