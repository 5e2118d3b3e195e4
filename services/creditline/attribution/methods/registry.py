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
from creditline.attribution.methods.timestep_gradients import Normalised, TimestepGradients
from creditline.attribution.methods.trak import TrakDivisor
from creditline.attribution.unlearning.fast_teacher import FastUnlearning
from creditline.attribution.unlearning.forgetting import BoundedDescentAscent
from creditline.attribution.unlearning.methods import WORK_DRAWS, Unlearning
from creditline.corpus.directions import unit_rows
from creditline.errors import InvalidInput
from creditline.generator.losses import Draws

MethodFactory = Callable[[MethodContext], Attributor]


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


def _by_timestep(name: str, normalised: Normalised) -> MethodFactory:
    return lambda context: TimestepGradients(name, context.generator, normalised)


def _das(name: str, space: GradientSpace) -> MethodFactory:
    return lambda context: DiffusionAttributionScore(
        name, context.generator, context.rows(space), chosen.DAS_REGULARISATION
    )


def _journey(context: MethodContext) -> Attributor:
    rows = context.rows(chosen.LOSS)
    return JourneyTrak("journey-trak", context.generator, rows, chosen.TRAK_REGULARISATION, context.seeds)


def _d_trak_ensemble(context: MethodContext) -> Attributor:
    """D-TRAK averaged over the generator and over models of the same works trained from other seeds."""
    generator = context.generator
    _refuse_without(context.seed_models, "d-trak-ensemble", "models of the same works from other seeds")
    return Ensemble(
        "d-trak-ensemble",
        generator,
        {"own": Member(None), **context.seed_models},
        lambda: Trak("d-trak", GradientRows(generator, chosen.OUTPUT), chosen.D_TRAK_REGULARISATION),
    )


def _tracin(context: MethodContext) -> Attributor:
    """TracInCP: inner products of gradients at checkpoints of the training, weighted by the learning rate."""
    generator = context.generator
    _refuse_without(context.checkpoints, "tracin", "checkpoints of the generator's training")
    return Ensemble(
        "tracin",
        generator,
        context.checkpoints,
        lambda: GradientDot("dot", GradientRows(generator, chosen.FEW_LOSS)),
    )


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


def _descent_ascent(name: str, *, score: str) -> MethodFactory:
    def make(context: MethodContext) -> Attributor:
        return Unlearning(
            name,
            context.generator,
            lambda works, directory: BoundedDescentAscent(works.examples, chosen.MUCS_LEARNING_RATE),
            score=score,
        )

    return make


def _consensus(name: str) -> MethodFactory:
    weights = chosen.CONSENSUSES[name]
    return lambda context: Consensus(
        name, [METHODS[member](context) for member in weights], tuple(weights.values())
    )


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


METHODS: dict[str, MethodFactory] = {
    "random": lambda context: RandomScores(chosen.RANDOM_SEED),
    "pixels": lambda context: PixelSimilarity(),
    "image": _tower("image", ("image",)),
    "text": _tower("text", ("text",)),
    "joined": _tower("joined", ("image", "text")),
    "text-sharpened": _sharp_text,
    "nda": lambda context: NonparametricAttribution(context.generator.noising, PUBLISHED),
    "nda-pixels": lambda context: NonparametricAttribution(context.generator.noising, PUBLISHED_IN_PIXELS),
    "nda-same-place": lambda context: NonparametricAttribution(context.generator.noising, SAME_PLACE),
    "gradient-dot": _gradient(GradientDot, "gradient-dot", chosen.LOSS),
    "gradient-cosine": _gradient(GradientCosine, "gradient-cosine", chosen.LOSS),
    "trak": _kernel("trak", chosen.LOSS, chosen.TRAK_REGULARISATION),
    "relative-influence": _kernel("relative-influence", chosen.LOSS, chosen.TRAK_REGULARISATION, "relative"),
    "renormalised-influence": _kernel(
        "renormalised-influence", chosen.LOSS, chosen.RENORMALISED_REGULARISATION, "renormalised"
    ),
    "d-trak": _kernel("d-trak", chosen.OUTPUT, chosen.D_TRAK_REGULARISATION),
    **{
        f"d-trak-{measure}": _kernel(
            f"d-trak-{measure}", GradientSpace(measure=measure, draws=chosen.FISHER_DRAWS), value
        )
        for measure, value in chosen.OUTPUT_REGULARISATIONS.items()
    },
    "d-trak-ensemble": _d_trak_ensemble,
    "das": _das("das", chosen.OUTPUT),
    "dmin": _by_timestep("dmin", "both"),
    "diffusion-retrac": _by_timestep("diffusion-retrac", "work"),
    "tracin": _tracin,
    "journey-trak": _journey,
    "trak-relative": _kernel("trak-relative", chosen.RELATIVE, chosen.OWN_REGULARISATION),
    "influence-ekfac": _gradient(GradientDot, "influence-ekfac", chosen.EKFAC),
    "influence-noise": _gradient(RenormalisedGradientDot, "influence-noise", chosen.OWN_NOISE),
    "influence-relative": _gradient(RenormalisedGradientDot, "influence-relative", chosen.OWN_RELATIVE),
    "influence-noise-attn": _gradient(RenormalisedGradientDot, "influence-noise-attn", chosen.FEW_OWN_NOISE),
    "d-trak-attn": _kernel("d-trak-attn", chosen.FEW_OUTPUT, chosen.D_TRAK_REGULARISATION),
    "das-attn": _das("das-attn", chosen.FEW_OUTPUT),
    **{name: _consensus(name) for name in chosen.CONSENSUSES},
    "abu": _natural("abu", eigenbasis=False),
    "abu-plus": _natural("abu-plus"),
    "abu-plus-relative": _natural("abu-plus-relative", score="relative"),
    "abu-plus-skew": _natural("abu-plus-skew", score="skew"),
    "abu-plus-attn": _natural("abu-plus-attn", "attn"),
    "abu-plus-all": _natural("abu-plus-all", "all"),
    "abu-plus-3-steps": _natural("abu-plus-3-steps", steps=3),
    "abu-plus-fast": _fast("abu-plus-fast"),
    "abu-plus-attn-fast": _fast("abu-plus-attn-fast", "attn"),
    # The full teacher with other noise of the works, to measure its agreement with itself.
    "abu-plus-again": _natural("abu-plus-again", draws=replace(WORK_DRAWS, salt="again")),
    "mucs": _descent_ascent("mucs", score="skew"),
}
