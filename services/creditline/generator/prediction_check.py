"""A check that a UNet predicts the quantity that its scheduler is configured for: the noise, or v.

A few works are noised, and the UNet's output is compared with both targets. What a target owes to a multiple
of the noisy input counts as known: a model explains a target as far as its error is below that of the best
such multiple. An untrained model explains neither target, whatever it puts out, and a trained one explains
its own.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats
from torch import Tensor

from creditline.corpus.works import Corpus
from creditline.errors import InvalidInput
from creditline.generator.losses import Draws, Examples, encoded_examples, passes_per_batch
from creditline.generator.parts.scheduling import PREDICTIONS
from creditline.generator.pipeline import Generator

Outcome = Literal["agrees", "contradicts", "cannot tell"]

_DRAWS, _EXAMPLES = Draws(timesteps=6, salt="prediction"), 8
# Noise coefficients of the timesteps: with less noise the two targets are nearly the same, and in nearly pure
# noise the noise is known from the input.
_LEAST_NOISE, _MOST_NOISE = 0.5, 0.95
# Fewer works give no estimate of the uncertainty that could be trusted.
_FEWEST_EXAMPLES = 4
_COVERAGE = 0.99


@dataclass(frozen=True)
class Explained:
    """Part of a target's variance that a UNet explains beyond a multiple of its input; negative: none."""

    value: float
    """The estimate, at most 1."""
    margin: float
    """Half of the width of its 99 % interval over works; infinite for too few works."""


@dataclass(frozen=True)
class PredictionCheck:
    """Result of the check."""

    configured: str
    """Prediction type of the scheduler."""
    explained: dict[str, Explained]
    """What the UNet explains of each prediction type's target."""
    advantage: Explained
    """What it explains of the other type's target, less what it explains of the configured one's."""

    @property
    def other(self) -> str:
        """The prediction type that is not configured."""
        return _other(self.configured)

    @property
    def outcome(self) -> Outcome:
        """Whether the UNet agrees with its scheduler, contradicts it, or neither can be told."""
        if self._wins(self.other, self.advantage.value):
            return "contradicts"
        return "agrees" if self._wins(self.configured, -self.advantage.value) else "cannot tell"

    def _wins(self, kind: str, advantage: float) -> bool:
        explained = self.explained[kind]
        return explained.value > explained.margin and advantage > self.advantage.margin

    def sentence(self) -> str:
        """The outcome in one sentence."""
        values = " and ".join(
            f"{max(found.value, 0.0):.0%} of the target of {kind}" for kind, found in self.explained.items()
        )
        if self.outcome == "agrees":
            return f"the UNet predicts {self.configured}, as its scheduler says (it explains {values})"
        if self.outcome == "contradicts":
            return (
                f"the scheduler is configured for {self.configured}, but the UNet predicts {self.other} (it"
                f" explains {values})"
            )
        return (
            f"whether the UNet predicts {self.configured} cannot be told from its outputs (it explains"
            f" {values}); its scheduler's word is taken"
        )


@torch.no_grad()
def check_prediction(generator: Generator, works: Examples) -> PredictionCheck:
    """Compare the UNet's output for a few works with the targets of both prediction types.

    Args:
        generator: The generator.
        works: Works of its training set, on its device; at most eight of them, spread evenly, are used.

    Raises:
        InvalidInput: There are no works, or an output is NaN or infinite.
    """
    few = works.rows(_spread(len(works)))
    noise, timesteps = _noise(few), _timesteps(generator)
    latents = few.latents.repeat_interleave(len(_DRAWS), dim=0)
    steps = timesteps.repeat(len(few)).to(latents.device)
    noisy = generator.noising.noisy(latents, noise, steps)
    predicted = _predicted(generator, noisy, steps, few.text.repeat_interleave(len(_DRAWS), dim=0))
    errors = {}
    for kind in PREDICTIONS:
        target = replace(generator.noising, prediction=kind).target(latents, noise, steps)
        own, known = (predicted - target).square(), _unexplained(target, noisy, len(few))
        errors[kind] = np.stack([_by_example(own, len(few)), _by_example(known, len(few))])
    _refuse_not_finite(errors, few.ids)
    return _result(generator.noising.prediction, errors)


def refuse_other_prediction(generator: Generator, works: Examples) -> PredictionCheck:
    """Check the prediction type of a generator, and refuse one that contradicts its scheduler.

    Args:
        generator: The generator.
        works: Works of its training set, on its device.

    Returns:
        The result, whose outcome is "agrees" or "cannot tell".

    Raises:
        InvalidInput: The UNet predicts another quantity than the scheduler is configured for.
    """
    found = check_prediction(generator, works)
    if found.outcome == "contradicts":
        raise InvalidInput(
            f"the generator in {generator.directory} contradicts itself: {found.sentence()}; set"
            f" prediction_type to {found.other} in its scheduler_config.json, or turn the check off with"
            " `prediction_check: false` in the run's configuration or --no-prediction-check",
            field="prediction_type",
        )
    return found


def check_corpus(generator: Generator, corpus: Corpus) -> PredictionCheck:
    """Check the prediction type of a generator on works of a corpus, before anything expensive.

    Args:
        generator: The generator.
        corpus: The corpus; a few of its works, spread evenly, are encoded.

    Returns:
        The result, whose outcome is "agrees" or "cannot tell".

    Raises:
        InvalidInput: The UNet predicts another quantity than the scheduler is configured for.
    """
    with_pictures = [work for work in corpus if work.thumbnail]
    works = [with_pictures[row] for row in _spread(len(with_pictures))]
    examples = encoded_examples(
        generator,
        [work.id for work in works],
        [work.picture() for work in works],
        [work.caption for work in works],
    )
    return refuse_other_prediction(generator, examples)


def _spread(count: int) -> list[int]:
    """At most eight indices below `count`, evenly spread.

    Raises:
        InvalidInput: `count` is 0.
    """
    if not count:
        raise InvalidInput(
            "the prediction type cannot be checked without pictures; give a corpus with pictures, or turn the"
            " check off",
            field="corpus",
        )
    chosen: list[int] = np.unique(
        np.linspace(0, count - 1, min(_EXAMPLES, count)).round().astype(int)
    ).tolist()
    return chosen


def _other(kind: str) -> str:
    return next(other for other in PREDICTIONS if other != kind)


def _noise(examples: Examples) -> Tensor:
    """Noise of all draws of all examples: (N · draws, C, H, W) float32."""
    shape = tuple(examples.latents.shape[1:])
    noise = torch.cat([_DRAWS.noise(name, shape) for name in examples.ids])
    return noise.to(examples.latents.device)


def _timesteps(generator: Generator) -> Tensor:
    """Timesteps whose noise coefficients are nearest to evenly spaced ones: (draws,) int64."""
    coefficients = generator.noising.noise.cpu()
    wanted = torch.linspace(_LEAST_NOISE, _MOST_NOISE, len(_DRAWS))
    return (coefficients[None, :] - wanted[:, None]).abs().argmin(dim=1)


def _predicted(generator: Generator, noisy: Tensor, timesteps: Tensor, text: Tensor) -> Tensor:
    """Output of the UNet, as many passes at a time as memory allows: (B, C, H, W)."""
    size = passes_per_batch(generator.unet)
    parts = zip(noisy.split(size), timesteps.split(size), text.split(size), strict=True)
    return torch.cat([generator.unet(*part).sample for part in parts])


def _unexplained(target: Tensor, noisy: Tensor, examples: int) -> Tensor:
    """Squares of what no multiple of the input explains of a target, one multiple per draw: (B, C, H, W)."""
    by_draw = [values.unflatten(0, (examples, len(_DRAWS))) for values in (target, noisy)]
    products = (by_draw[0] * by_draw[1]).sum(dim=(0, 2, 3, 4), keepdim=True)
    squares = by_draw[1].square().sum(dim=(0, 2, 3, 4), keepdim=True)
    return (by_draw[0] - products / squares * by_draw[1]).square().flatten(0, 1)


def _by_example(squares: Tensor, examples: int) -> NDArray[np.float64]:
    """Means over the draws and the latents of each example: (B, C, H, W) -> (N,)."""
    return squares.unflatten(0, (examples, len(_DRAWS))).flatten(1).mean(dim=1).double().cpu().numpy()


def _refuse_not_finite(errors: dict[str, NDArray[np.float64]], ids: tuple[str, ...]) -> None:
    of_unet = np.stack([own for own, _ in errors.values()])
    not_finite = np.flatnonzero(~np.isfinite(of_unet).all(axis=0))
    if len(not_finite):
        raise InvalidInput(
            f"the UNet's output for {ids[not_finite[0]]!r} is NaN or infinite; check that picture, and the"
            " generator's weights for NaN",
            field="generator",
        )


def _result(configured: str, errors: dict[str, NDArray[np.float64]]) -> PredictionCheck:
    """The result from each type's errors of the UNet and of the best multiple of the input, (2, N)."""
    parts = {kind: _explained_without_one(values) for kind, values in errors.items()}
    found = {kind: _with_margin(*values) for kind, values in parts.items()}
    own, other = parts[configured], parts[_other(configured)]
    return PredictionCheck(configured, found, _with_margin(other[0] - own[0], other[1] - own[1]))


def _explained_without_one(errors: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
    """Explained part over all works, and over all but each one in turn (the jackknife): (N,)."""
    total = errors.sum(axis=1)
    rest = total[:, None] - errors if errors.shape[1] > 1 else np.repeat(total[:, None], 1, axis=1)
    return float(1.0 - total[0] / total[1]), 1.0 - rest[0] / rest[1]


def _with_margin(value: float, without_one: NDArray[np.float64]) -> Explained:
    """An estimate with its interval, by the jackknife and Student's t."""
    count = len(without_one)
    if count < _FEWEST_EXAMPLES:
        return Explained(value, float("inf"))
    variance = (count - 1) / count * np.square(without_one - without_one.mean()).sum()
    return Explained(value, float(stats.t.ppf(0.5 + _COVERAGE / 2, count - 1) * np.sqrt(variance)))
