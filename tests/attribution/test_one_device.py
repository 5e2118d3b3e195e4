"""Every tensor of the attribution methods is on the generator's device, wherever that is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from creditline.attribution.attributor import Attributor, Gallery, attribute
from creditline.attribution.ensembles.models import Ensemble, Member
from creditline.attribution.fisher.ekfac import fisher_of_rows, fit_ekfac
from creditline.attribution.fisher.ekfac_store import stored_fisher
from creditline.attribution.gradients.parameters import ParameterChoice, chosen_layers
from creditline.attribution.gradients.per_sample import moved_layers, parameter_count, per_sample_gradients
from creditline.attribution.gradients.projection import Gaussian, PermutedSignSum, Projection, Rademacher
from creditline.attribution.gradients.targets import GRADIENT_TARGETS, gradient_target_by_name
from creditline.attribution.membership import own_losses
from creditline.attribution.methods.das import DiffusionAttributionScore
from creditline.attribution.methods.gradient_methods import GradientCosine, GradientDot, Trak
from creditline.attribution.methods.gradient_rows import GradientRows, GradientSpace, Whitening, products
from creditline.attribution.methods.journey_trak import JourneyTrak
from creditline.attribution.methods.nda import PUBLISHED, SAME_PLACE_IN_PIXELS, NonparametricAttribution
from creditline.attribution.methods.timestep_gradients import TimestepGradients
from creditline.attribution.unlearning.fast_teacher import FastUnlearning
from creditline.attribution.unlearning.forgetting import BoundedDescentAscent, Forgetting, NaturalAscent
from creditline.attribution.unlearning.groups import guda_scores
from creditline.attribution.unlearning.methods import Unlearning
from creditline.attribution.unlearning.teacher import Query, encode_queries, open_teacher, prepare_teacher
from creditline.corpus.works import Corpus
from creditline.generator.losses import Draws, denoising_losses
from creditline.generator.pipeline import Generator
from tests.device_checks import META, fake_cuda, needs_gpu, one_device
from tests.random_galleries import random_gallery

DRAWS = Draws(timesteps=2, repeats=2, salt="test", mirrored=True)
_LOSS = GradientSpace("cross-attn", draws=DRAWS)
_OUTPUT = replace(_LOSS, measure="squared-l2")
_CHOICES: tuple[ParameterChoice, ...] = ("cross-attn", "attn", "mlp-cond", "all")

MethodFactory = Callable[[Generator], Attributor]


@pytest.fixture(scope="module")
def meta_generator(random_generator_directory: Path) -> Iterator[Generator]:
    with Generator.open(random_generator_directory, device=META) as generator:
        yield generator


def _gallery(generator: Generator, name: str, count: int) -> Gallery:
    gallery = random_gallery(generator, name, count)
    return replace(gallery, examples=gallery.examples.to(generator.device))


def _natural(works: Gallery, generator: Generator, steps: int = 1) -> NaturalAscent:
    fisher = fit_ekfac(generator, works.examples, DRAWS, chosen_layers(generator.unet, "cross-attn"))
    return NaturalAscent(fisher, steps=steps, query_draws=DRAWS, check_draws=DRAWS)


def _unlearning(generator: Generator) -> Attributor:
    """A method whose scores are computed in every way."""
    return Unlearning("abu", generator, lambda works, _: _natural(works, generator), draws=DRAWS)


def _bounded(generator: Generator) -> Attributor:
    def forgetting(works: Gallery, directory: Path) -> Forgetting:
        return BoundedDescentAscent(works.examples, 1e-4, 1.5, batch=2, query_batch=2)

    return Unlearning("mucs", generator, forgetting, score="skew", draws=DRAWS)


def _fast(generator: Generator) -> Attributor:
    return FastUnlearning(
        "fast",
        generator,
        lambda works, _: _natural(works, generator, steps=2),
        "cross-attn",
        draws=DRAWS,
        control=DRAWS,
    )


def _ensemble(generator: Generator) -> Attributor:
    make = lambda: GradientDot("dot", GradientRows(generator, _LOSS))  # noqa: E731
    return Ensemble("ensemble", generator, {"own": Member(None)}, make)


METHODS: dict[str, MethodFactory] = {
    "dot": lambda generator: GradientDot("dot", GradientRows(generator, _LOSS)),
    "cosine": lambda generator: GradientCosine("cosine", GradientRows(generator, _LOSS)),
    "relative": lambda generator: GradientDot(
        "relative", GradientRows(generator, replace(_LOSS, weighting="relative"))
    ),
    "ekfac": lambda generator: GradientDot(
        "ekfac", GradientRows(generator, replace(_LOSS, whitening=Whitening()))
    ),
    "ekfac-of-passes": lambda generator: GradientDot(
        "ekfac", GradientRows(generator, replace(_LOSS, whitening=Whitening(sample="pass")))
    ),
    "own-fisher": lambda generator: GradientDot(
        "own-fisher",
        GradientRows(generator, replace(_LOSS, whitening=Whitening(fitted="rows"), compressed=64)),
    ),
    "trak": lambda generator: Trak("trak", GradientRows(generator, _OUTPUT), 0.5),
    "das": lambda generator: DiffusionAttributionScore(
        "das", generator, GradientRows(generator, _OUTPUT), 0.5
    ),
    "journey": lambda generator: JourneyTrak(
        "journey", generator, GradientRows(generator, _LOSS), 0.5, {"query-0": 1, "query-1": 2}, steps=3
    ),
    "dmin": lambda generator: TimestepGradients(
        "dmin", generator, "both", parameters="cross-attn", draws=DRAWS, size=32
    ),
    "retrac": lambda generator: TimestepGradients(
        "retrac", generator, "work", parameters="cross-attn", draws=DRAWS, size=32
    ),
    "nda": lambda generator: NonparametricAttribution(generator.noising, PUBLISHED),
    "nda-pixels": lambda generator: NonparametricAttribution(generator.noising, SAME_PLACE_IN_PIXELS),
    "abu": _unlearning,
    "mucs": _bounded,
    "fast": _fast,
    "ensemble": _ensemble,
}


# They take several times as long as the others.
_LONG = {"fast", "mucs", "ensemble"}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.heavy] * (name in _LONG)) for name in METHODS]
)
def test_a_method_runs_there_from_the_works_to_the_scores(
    name: str, meta_generator: Generator, tmp_path: Path
) -> None:
    works, queries = _gallery(meta_generator, "work", 4), _gallery(meta_generator, "query", 2)
    with one_device() as checked:
        found = attribute(METHODS[name](meta_generator), works, queries, tmp_path)
    assert found.values.shape == (2, 4)
    assert checked.host_copies > 0


@pytest.mark.parametrize("name", ["abu", "dot"])
def test_a_method_runs_there_on_some_of_the_works(
    name: str, meta_generator: Generator, tmp_path: Path
) -> None:
    works, queries = _gallery(meta_generator, "work", 4), _gallery(meta_generator, "query", 2)
    wanted = np.array([[True, False, True, False], [False, False, False, True]])
    with one_device():
        method = METHODS[name](meta_generator)
        method.prepare(works, tmp_path)
        assert method.scores_among(queries, wanted).shape == (2, 4)


@pytest.mark.parametrize("choice", _CHOICES)
def test_per_sample_gradients_and_their_fisher_are_there(
    choice: ParameterChoice, meta_generator: Generator, tmp_path: Path
) -> None:
    examples = _gallery(meta_generator, "work", 3).examples
    layers = chosen_layers(meta_generator.unet, choice)
    with one_device():
        gradients = per_sample_gradients(meta_generator, examples, DRAWS, layers)
        fitted = fit_ekfac(meta_generator, examples, DRAWS, layers)
        diagonal = fit_ekfac(meta_generator, examples, DRAWS, layers, eigenbasis=False)
        read = stored_fisher(tmp_path / "fisher.safetensors", {}, lambda: fitted).to(meta_generator.device)
        of_rows = fisher_of_rows(gradients.cpu().numpy(), layers)
        for fisher in (fitted, diagonal, read, of_rows):
            step = fisher.natural(gradients)[0]
            assert fisher.whitened(gradients).is_meta
            with moved_layers(layers, step):
                assert denoising_losses(meta_generator, examples, DRAWS).is_meta
    assert gradients.shape == (3, parameter_count(layers))


@pytest.mark.parametrize("name", GRADIENT_TARGETS)
def test_every_output_function_is_measured_there(name: str, meta_generator: Generator) -> None:
    examples = _gallery(meta_generator, "work", 2).examples
    layers = chosen_layers(meta_generator.unet, "cross-attn")
    weights = torch.ones(len(DRAWS))
    with one_device():
        found = per_sample_gradients(
            meta_generator,
            examples,
            DRAWS,
            layers,
            measure=gradient_target_by_name(name),
            draw_weights=weights,
            by_timestep=True,
        )
    assert found.is_meta


@pytest.mark.parametrize("kind", [Rademacher, Gaussian, PermutedSignSum])
def test_rows_are_projected_where_they_are(kind: type[Projection]) -> None:
    projection = kind(1000, 40, 3)
    with one_device():
        assert projection.project(torch.zeros(3, 1000, device=META)).is_meta
    with fake_cuda():
        found = projection.project(torch.zeros(3, 1000, device="cuda:0"))
        assert found.device == torch.device("cuda:0")


def test_the_teacher_is_prepared_opened_and_used_there(
    meta_generator: Generator, small_corpus: Corpus, tmp_path: Path
) -> None:
    few = small_corpus.subset(small_corpus.ids[:3], name="few")
    query = Query("query", few.works[0].picture().rotate(90), "something turned")
    with one_device():
        prepare_teacher(meta_generator, few, tmp_path, lambda line: None)
        teacher = open_teacher(meta_generator, few, tmp_path)
        influence = teacher.influence(query, [2, 0])
        encoded = encode_queries(meta_generator, [query])
        first_order = teacher.first_order(encoded, others=encoded)
    assert teacher.statistics.fisher.eigenvalues.is_meta
    assert influence.values.shape == (2,)
    assert first_order.shape == (1, 4)


def test_groups_are_forgotten_and_memberships_measured_there(meta_generator: Generator) -> None:
    works, queries = _gallery(meta_generator, "work", 4), _gallery(meta_generator, "query", 2)
    with one_device():
        forgetting = _natural(works, meta_generator)
        scores = guda_scores(meta_generator, forgetting, works, [[0, 1], [3]], queries, DRAWS)
        losses = own_losses(meta_generator, works.examples)
    assert {values.shape for values in scores.values()} == {(2, 2)}
    assert losses.shape == (4, 10)


def test_inner_products_of_rows_come_to_the_host() -> None:
    first, second = np.ones((2, 9), np.float32), np.ones((3, 9), np.float32)
    with one_device() as checked:
        assert products(first, second, META).shape == (2, 3)
    assert checked.host_copies == 1


# Eigenvectors' signs differ between devices; sums of rotated numbers at random groups then differ as well.
_ELSEWHERE_OTHER_SUMS = {"own-fisher"}


@needs_gpu
@pytest.mark.parametrize("name", sorted(METHODS.keys() - _ELSEWHERE_OTHER_SUMS))
def test_a_gpu_gives_the_same_scores(name: str, random_generator_directory: Path, tmp_path: Path) -> None:
    found = {}
    for device in ("cpu", "cuda:0"):
        with Generator.open(random_generator_directory, device=device) as generator:
            works, queries = _gallery(generator, "work", 12), _gallery(generator, "query", 2)
            method = METHODS[name](generator)
            found[device] = attribute(method, works, queries, tmp_path / device[:3]).values
    for ours, theirs in zip(found["cuda:0"], found["cpu"], strict=True):
        assert np.corrcoef(ours, theirs)[0, 1] > 0.999
