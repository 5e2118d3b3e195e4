"""The plan of a run and its expected duration, from a few measured steps, before anything long begins."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from creditline.attribution.gradients.key_value import gradient_factors
from creditline.attribution.unlearning.teacher import WORK_DRAWS, EncodedWorks
from creditline.distillation.labels.label_set import FIRST_ORDER
from creditline.distillation.run_context import RunContext
from creditline.generator.pipeline import STEPS, Generator

_MEASURED_PICTURES, _MEASURED_STEPS, _MEASURED_WORKS = 4, 2, 2
# A query's gradient has twice the draws of a work's; held-out queries are labelled twice.
_QUERY_WORK_RATIO = 2
# Measured on two cores: a step of training, of which each of two trainings has one per 32 queries and epoch.
_TRAINING_STEP_SECONDS, _QUERIES_PER_STEP, _TRAININGS = 0.2, 32, 2
_SECONDS_PER_MINUTE = 60.0


@dataclass(frozen=True)
class Forecast:
    """Numbers of works and queries, and expected durations."""

    works: int
    """Number of works."""
    training: int
    """Number of training queries."""
    held_out: int
    """Number of held-out queries."""
    seconds: Mapping[str, float]
    """Expected duration of the long stages by name, in seconds; those that are not known are left out."""

    def sentences(self) -> list[str]:
        """The plan, and the expected time."""
        minutes = {name: seconds / _SECONDS_PER_MINUTE for name, seconds in self.seconds.items()}
        each = ", ".join(f"{name} {value:.1f}" for name, value in minutes.items())
        return [
            f"plan: {self.works} works, {self.training} training and {self.held_out} held-out queries",
            f"expected time on this machine: about {math.ceil(sum(minutes.values()))} minutes ({each});"
            " an interrupted run resumes",
        ]


def forecast(context: RunContext) -> Forecast:
    """Measure a few steps of each long stage, and extrapolate.

    Args:
        context: Resources of a run that generates its queries.

    Raises:
        CreditlineError: The corpus is too small, or the generator or the towers cannot be used.
    """
    queries, works = context.queries, len(context.corpus)
    count = queries.training + queries.held_out
    epochs = context.config.plan().epochs
    steps = _TRAININGS * epochs * math.ceil(queries.training / _QUERIES_PER_STEP)
    with context.open_generator() as generator:
        seconds = {"pictures": count * _seconds_per_picture(generator)}
        if context.config.teacher == FIRST_ORDER:
            labelled = works + _QUERY_WORK_RATIO * (queries.training + 2 * queries.held_out)
            seconds["labels"] = labelled * _seconds_per_gradient(generator, context)
    features = count if context.given else count + works
    seconds["features"] = features * _seconds_per_feature(context)
    seconds["training"] = steps * _TRAINING_STEP_SECONDS
    return Forecast(works, queries.training, queries.held_out, seconds)


def _seconds_per_picture(generator: Generator) -> float:
    """Seconds to sample one picture; the first call, which warms up, is not measured."""
    batch = [""] * _MEASURED_PICTURES, list(range(_MEASURED_PICTURES))
    generator.sample(*batch, steps=1)
    seconds = _timed(lambda: generator.sample(*batch, steps=_MEASURED_STEPS))
    return seconds / _MEASURED_PICTURES * STEPS / _MEASURED_STEPS


def _seconds_per_gradient(generator: Generator, context: RunContext) -> float:
    """Seconds to compute the gradient of one work."""
    works = EncodedWorks(generator, context.corpus).rows(range(_MEASURED_WORKS))
    return _timed(lambda: gradient_factors(generator, works, WORK_DRAWS)) / _MEASURED_WORKS


def _seconds_per_feature(context: RunContext) -> float:
    """Seconds to compute the tower features of one picture with its text."""
    works = context.corpus.works[:_MEASURED_WORKS]
    pictures, texts = [work.picture() for work in works], [work.caption for work in works]
    context.store.towers.features(pictures, texts)
    return _timed(lambda: context.store.towers.features(pictures, texts)) / _MEASURED_WORKS


def _timed(action: Callable[[], object]) -> float:
    began = time.perf_counter()
    action()
    return time.perf_counter() - began
