"""The fast teacher: its two limits are known exactly, and in between it is the documented sum."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from creditline.attribution.attributor import Gallery, attribute
from creditline.attribution.fisher.ekfac import fit_ekfac
from creditline.attribution.gradients.parameters import chosen_layers
from creditline.attribution.gradients.per_sample import per_sample_gradients
from creditline.attribution.unlearning.fast_teacher import FastUnlearning
from creditline.attribution.unlearning.forgetting import NaturalAscent
from creditline.attribution.unlearning.methods import Unlearning
from creditline.errors import FingerprintMismatch, NotReady
from creditline.generator.losses import ClearDraws, Draws, denoising_losses
from creditline.generator.pipeline import Generator
from tests.random_galleries import random_gallery

FEW = ClearDraws(timesteps=2, repeats=1, salt="few", part=0.6)
CONTROL = Draws(timesteps=4, repeats=2, salt="control")


@pytest.fixture
def works(random_generator: Generator) -> Gallery:
    return random_gallery(random_generator, "work", 10)


@pytest.fixture
def queries(random_generator: Generator) -> Gallery:
    return random_gallery(random_generator, "query", 2)


class Bench:
    """The teacher and its slow form over one generator, with the same step."""

    def __init__(self, generator: Generator, works: Gallery, queries: Gallery, directory: Path) -> None:
        self.generator, self.works, self.queries, self.directory = generator, works, queries, directory
        self.layers = chosen_layers(generator.unet, "cross-attn")

    def forgetting(self, works: Gallery, directory: Path) -> NaturalAscent:
        fisher = fit_ekfac(self.generator, works.examples, CONTROL, self.layers)
        return NaturalAscent(fisher, query_draws=CONTROL, check_draws=CONTROL)

    def fast(self, *, weight: float, control: Draws = CONTROL) -> FastUnlearning:
        return FastUnlearning(
            "fast", self.generator, self.forgetting, "cross-attn", draws=FEW, control=control, weight=weight
        )

    def scored(self, *, weight: float, control: Draws = CONTROL) -> NDArray[np.float64]:
        directory = self.directory / f"{weight}-{control.salt}"
        return attribute(
            self.fast(weight=weight, control=control), self.works, self.queries, directory
        ).values

    def slow(self) -> NDArray[np.float64]:
        method = Unlearning("slow", self.generator, self.forgetting, draws=FEW)
        return attribute(method, self.works, self.queries, self.directory / "slow").values


@pytest.fixture
def bench(random_generator: Generator, works: Gallery, queries: Gallery, tmp_path: Path) -> Bench:
    return Bench(random_generator, works, queries, tmp_path)


def test_controlled_by_its_own_draws_alone_it_is_the_slow_teacher_at_them(bench: Bench) -> None:
    np.testing.assert_allclose(bench.scored(weight=1.0, control=FEW), bench.slow(), rtol=1e-5, atol=1e-7)


def test_without_the_remainder_it_is_the_first_order_part(bench: Bench) -> None:
    rows = per_sample_gradients(bench.generator, bench.works.examples, CONTROL, bench.layers)
    way, expected = bench.forgetting(bench.works, bench.directory), []
    for number in range(len(bench.queries)):
        before = bench.fast(weight=0.0)._weights()
        with way.forget(bench.generator, bench.queries.examples.rows([number])):
            expected.append((rows @ (bench.fast(weight=0.0)._weights() - before)).numpy())
    np.testing.assert_allclose(bench.scored(weight=0.0), expected, rtol=1e-3, atol=1e-7)


def test_in_between_it_is_the_sum_of_both_parts(bench: Bench) -> None:
    first, whole = bench.scored(weight=0.0), bench.scored(weight=1.0)
    np.testing.assert_allclose(bench.scored(weight=0.25), 0.75 * first + 0.25 * whole, rtol=1e-4, atol=1e-7)
    assert np.abs(whole - first).max() > 1e-3 * np.abs(whole).max()


def test_it_costs_the_step_and_a_few_passes_per_work(bench: Bench) -> None:
    method = bench.fast(weight=0.5)
    attribute(method, bench.works, bench.queries, bench.directory)
    way = bench.forgetting(bench.works, bench.directory)
    spent = []
    for number in range(2):
        with way.forget(bench.generator, bench.queries.examples.rows([number])) as forgotten:
            spent.append(forgotten.passes)
    assert method.passes_per_query == np.mean(spent) + len(bench.works) * len(FEW)
    assert method.bytes_per_work == 4 * (sum(m.weight.numel() for m in bench.layers.values()) + len(FEW))


def test_its_rows_are_refused_for_another_weight(bench: Bench) -> None:
    bench.fast(weight=0.5).prepare(bench.works, bench.directory)
    with pytest.raises(FingerprintMismatch, match="weight"):
        bench.fast(weight=0.6).prepare(bench.works, bench.directory)


def test_it_must_be_prepared(bench: Bench) -> None:
    with pytest.raises(NotReady, match="call prepare"):
        bench.fast(weight=0.5).scores(bench.queries)


def test_clear_draws_stay_in_their_part_of_the_schedule() -> None:
    assert ClearDraws(timesteps=3, part=0.65).schedule(1000).tolist() == [108, 325, 541]
    assert ClearDraws(timesteps=3).schedule(1000).tolist() == Draws(timesteps=3).schedule(1000).tolist()


def test_the_losses_at_clear_draws_are_finite(bench: Bench) -> None:
    assert np.isfinite(denoising_losses(bench.generator, bench.works.examples, FEW).numpy()).all()


def test_scores_inside_a_mask_are_those_of_all_works(bench: Bench) -> None:
    method = bench.fast(weight=0.7)
    method.prepare(bench.works, bench.directory / "some")
    everything = method.scores(bench.queries)
    cost = method.passes_per_query
    mask = np.random.default_rng(1).random(everything.shape) < 0.3
    np.testing.assert_allclose(
        method.scores_among(bench.queries, mask), np.where(mask, everything, 0.0), atol=1e-6
    )
    assert method.passes_per_query < cost
