"""Registry of attribution methods, by their names in tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from creditline.attribution.attributor import Attributor, Gallery
from creditline.attribution.ensembles.consensus import Consensus, Sharpened
from creditline.attribution.ensembles.models import Ensemble, Member
from creditline.attribution.gradients.parameters import ParameterChoice
from creditline.attribution.methods import hyperparameters as chosen
from creditline.attribution.methods.context import MethodContext
from creditline.attribution.methods.das import DiffusionAttributionScore
from creditline.attribution.methods.gradient_methods import (
    GradientCosine,
    GradientDot,
    GradientMethod,
    RenormalisedGradientDot,
    Trak,
)
from creditline.attribution.methods.gradient_rows import GradientRows, GradientSpace
from creditline.attribution.methods.journey_trak import JourneyTrak
from creditline.attribution.methods.nda import (
    PADDED,
    PADDED_LATE,
    PUBLISHED,
    PUBLISHED_IN_PIXELS,
    SAME_PLACE,
    NonparametricAttribution,
)
from creditline.attribution.methods.prepared_ascent import natural_ascent
from creditline.attribution.methods.similarity import (
    FeatureSimilarity,
    PixelSimilarity,
    RandomScores,
)
from creditline.attribution.methods.timestep_gradients import DRAWS as TIMESTEP_DRAWS
from creditline.attribution.methods.timestep_gradients import Normalised, TimestepGradients
from creditline.attribution.methods.trak import TrakDivisor
from creditline.attribution.unlearning.fast_teacher import FastUnlearning
from creditline.attribution.unlearning.forgetting import BoundedDescentAscent
from creditline.attribution.unlearning.methods import WORK_DRAWS, Unlearning
from creditline.corpus.directions import unit_rows
from creditline.errors import InvalidInput
from creditline.generator.losses import Draws, common_noise
from creditline.generator.pipeline import Generator

MethodFactory = Callable[[MethodContext], Attributor]
# End of the name of a gradient method whose noise is the same for all pictures.
COMMON_NOISE = "-common"


def _tower(name: str, towers: tuple[str, ...]) -> MethodFactory:
    def features(context: MethodContext, gallery: Gallery) -> NDArray[np.float32]:
        rows = [context.features(tower, gallery) for tower in towers]
        return np.concatenate([unit_rows(row) for row in rows], axis=1)

    return lambda context: FeatureSimilarity(name, lambda gallery: features(context, gallery))


def _sharp_text(context: MethodContext) -> Attributor:
    return Sharpened("text-sharpened", METHODS["text"](context), chosen.SHARPNESS)


def _gradient(kind: type[GradientMethod], name: str, space: GradientSpace) -> MethodFactory:
    return lambda context: kind(name, context.rows(space))


def _kernel(
    name: str, space: GradientSpace, regularisation: float, divisor: TrakDivisor = "one"
) -> MethodFactory:
    return lambda context: Trak(name, context.rows(space), regularisation, divisor)


def _by_timestep(name: str, normalised: Normalised, draws: Draws) -> MethodFactory:
    return lambda context: TimestepGradients(
        name, context.generator, normalised, draws=draws, shared=context.directory
    )


def _das(name: str, space: GradientSpace) -> MethodFactory:
    return lambda context: DiffusionAttributionScore(
        name, context.generator, context.rows(space), chosen.DAS_REGULARISATION
    )


def _journey(name: str, space: GradientSpace) -> MethodFactory:
    return lambda context: JourneyTrak(
        name, context.generator, context.rows(space), chosen.TRAK_REGULARISATION, context.seeds
    )


def _over_seeds(name: str, make: Callable[[Generator], Attributor]) -> MethodFactory:
    """A method averaged over the generator and over models of the same works trained from other seeds."""

    def of(context: MethodContext) -> Attributor:
        _refuse_without(context.seed_models, name, "models of the same works from other seeds")
        members = {"own": Member(None), **context.seed_models}
        return Ensemble(name, context.generator, members, lambda: make(context.generator))

    return of


def _tracin(name: str, space: GradientSpace) -> MethodFactory:
    """TracInCP: inner products of gradients at checkpoints of the training, weighted by the learning rate."""

    def of(context: MethodContext) -> Attributor:
        _refuse_without(context.checkpoints, name, "checkpoints of the generator's training")
        return Ensemble(
            name,
            context.generator,
            context.checkpoints,
            lambda: GradientDot("dot", GradientRows(context.generator, space)),
        )

    return of


def _refuse_without(models: Mapping[str, Member], method: str, needed: str) -> None:
    if not models:
        raise InvalidInput(
            f"method {method} needs {needed}, but none were given; choose another method", field="method"
        )


def _natural(
    name: str,
    parameters: ParameterChoice = "cross-attn",
    *,
    score: str = "difference",
    steps: int = 1,
    eigenbasis: bool = True,
    draws: Draws = WORK_DRAWS,
) -> MethodFactory:
    return lambda context: Unlearning(
        name,
        context.generator,
        natural_ascent(context.generator, parameters, steps=steps, eigenbasis=eigenbasis),
        score=score,
        draws=draws,
    )


def _fast(name: str, parameters: ParameterChoice = "cross-attn") -> MethodFactory:
    return lambda context: FastUnlearning(
        name, context.generator, natural_ascent(context.generator, parameters), parameters
    )


def _descent_ascent(name: str, *, score: str, learning_rate: float) -> MethodFactory:
    def make(context: MethodContext) -> Attributor:
        return Unlearning(
            name,
            context.generator,
            lambda works, directory: BoundedDescentAscent(
                works.examples, learning_rate, chosen.MUCS_NULL_LOSS
            ),
            score=score,
            draws=chosen.MUCS_DRAWS,
        )

    return make


def _consensus(name: str) -> MethodFactory:
    weights = chosen.CONSENSUSES[name]
    powers, power = chosen.SHARPENED.get(name, ({}, 1.0))

    def make(context: MethodContext) -> Attributor:
        members = [_sharpened(METHODS[member](context), powers.get(member, 1.0)) for member in weights]
        return _sharpened(Consensus(name, members, tuple(weights.values())), power)

    return make


def _sharpened(base: Attributor, power: float) -> Attributor:
    """The method under its own name, sharpened where the power is not 1."""
    return base if power == 1.0 else Sharpened(base.name, base, power)


def method_by_name(name: str) -> MethodFactory:
    """Look up the factory of a method.

    Args:
        name: Name of the method, a key of `METHODS`.

    Returns:
        A function that creates the method from a `MethodContext`.

    Raises:
        InvalidInput: The registry has no method of that name.
    """
    if name not in METHODS:
        raise InvalidInput(f"unknown method {name!r}; choose one of {', '.join(METHODS)}", field="method")
    return METHODS[name]


def _gradient_methods(suffix: str, noise: Callable[[Draws], Draws]) -> dict[str, MethodFactory]:
    """The methods that compare gradients, by name.

    Args:
        suffix: End of each name.
        noise: From the draws of each method to draws with the noise of this variant.
    """

    def at(space: GradientSpace) -> GradientSpace:
        return replace(space, draws=noise(space.draws))

    loss, output, relative = at(chosen.LOSS), at(chosen.OUTPUT), at(chosen.RELATIVE)
    make: dict[str, Callable[[str], MethodFactory]] = {
        "gradient-dot": lambda name: _gradient(GradientDot, name, loss),
        "gradient-cosine": lambda name: _gradient(GradientCosine, name, loss),
        "trak": lambda name: _kernel(name, loss, chosen.TRAK_REGULARISATION),
        "relative-influence": lambda name: _kernel(name, loss, chosen.TRAK_REGULARISATION, "relative"),
        "renormalised-influence": lambda name: _kernel(
            name, loss, chosen.RENORMALISED_REGULARISATION, "renormalised"
        ),
        "d-trak": lambda name: _kernel(name, output, chosen.D_TRAK_REGULARISATION),
        "d-trak-ensemble": lambda name: _over_seeds(
            name,
            lambda generator: Trak("d-trak", GradientRows(generator, output), chosen.D_TRAK_REGULARISATION),
        ),
        "das": lambda name: _das(name, output),
        "dmin": lambda name: _by_timestep(name, "both", noise(TIMESTEP_DRAWS)),
        "diffusion-retrac": lambda name: _by_timestep(name, "work", noise(TIMESTEP_DRAWS)),
        "tracin": lambda name: _tracin(name, at(chosen.FEW_LOSS)),
        "journey-trak": lambda name: _journey(name, loss),
        "trak-relative": lambda name: _kernel(name, relative, chosen.OWN_REGULARISATION),
        "influence-ekfac": lambda name: _gradient(GradientDot, name, at(chosen.EKFAC)),
        "influence-noise": lambda name: _gradient(RenormalisedGradientDot, name, at(chosen.OWN_NOISE)),
        "influence-relative": lambda name: _gradient(RenormalisedGradientDot, name, at(chosen.OWN_RELATIVE)),
        "influence-noise-attn": lambda name: _gradient(
            RenormalisedGradientDot, name, at(chosen.FEW_OWN_NOISE)
        ),
        "d-trak-attn": lambda name: _kernel(name, at(chosen.FEW_OUTPUT), chosen.D_TRAK_REGULARISATION),
        "das-attn": lambda name: _das(name, at(chosen.FEW_OUTPUT)),
    }
    return {f"{name}{suffix}": factory(f"{name}{suffix}") for name, factory in make.items()}


METHODS: dict[str, MethodFactory] = {
    "random": lambda context: RandomScores(chosen.RANDOM_SEED),
    "pixels": lambda context: PixelSimilarity(),
    "image": _tower("image", ("image",)),
    "text": _tower("text", ("text",)),
    "joined": _tower("joined", ("image", "text")),
    "text-sharpened": _sharp_text,
    "nda": lambda context: NonparametricAttribution(context.generator.noising, PUBLISHED),
    "nda-padded": lambda context: NonparametricAttribution(context.generator.noising, PADDED),
    "nda-padded-late": lambda context: NonparametricAttribution(context.generator.noising, PADDED_LATE),
    "nda-pixels": lambda context: NonparametricAttribution(context.generator.noising, PUBLISHED_IN_PIXELS),
    "nda-same-place": lambda context: NonparametricAttribution(context.generator.noising, SAME_PLACE),
    **_gradient_methods("", lambda draws: draws),
    **_gradient_methods(COMMON_NOISE, common_noise),
    **{
        f"d-trak-{measure}": _kernel(
            f"d-trak-{measure}", GradientSpace(measure=measure, draws=chosen.FISHER_DRAWS), value
        )
        for measure, value in chosen.OUTPUT_REGULARISATIONS.items()
    },
    **{name: _consensus(name) for name in chosen.CONSENSUSES},
    "abu": _natural("abu", eigenbasis=False),
    "abu-plus": _natural("abu-plus"),
    "abu-plus-relative": _natural("abu-plus-relative", score="relative"),
    "abu-plus-skew": _natural("abu-plus-skew", score="skew"),
    "abu-plus-attn": _natural("abu-plus-attn", "attn"),
    "abu-plus-attn-relative": _natural("abu-plus-attn-relative", "attn", score="relative"),
    "abu-plus-all": _natural("abu-plus-all", "all"),
    "abu-plus-3-steps": _natural("abu-plus-3-steps", steps=3),
    "abu-plus-fast": _fast("abu-plus-fast"),
    "abu-plus-attn-fast": _fast("abu-plus-attn-fast", "attn"),
    # The full teacher with other noise of the works, to measure its agreement with itself.
    "abu-plus-again": _natural("abu-plus-again", draws=replace(WORK_DRAWS, salt="again")),
    "mucs": _descent_ascent("mucs", score="skew", learning_rate=chosen.MUCS_LEARNING_RATE),
    "mucs-faster": _descent_ascent(
        "mucs-faster", score="skew", learning_rate=chosen.MUCS_FASTER_LEARNING_RATE
    ),
}
