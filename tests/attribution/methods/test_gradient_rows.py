"""Stored gradients: what a row is in each space, and that products of rows are those of dense gradients."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file

from creditline.attribution.attributor import Gallery
from creditline.attribution.fisher.ekfac import fisher_of_rows, fit_ekfac
from creditline.attribution.gradients.draw_weights import relative_draw_weights
from creditline.attribution.gradients.parameters import ParameterChoice, chosen_layers
from creditline.attribution.gradients.per_sample import per_sample_gradients
from creditline.attribution.gradients.projection import PermutedSignSum
from creditline.attribution.gradients.targets import gradient_target_by_name
from creditline.attribution.methods.gradient_rows import (
    GradientRows,
    GradientSpace,
    Weighting,
    Whitening,
    products,
)
from creditline.errors import FingerprintMismatch, InvalidInput, NotReady
from creditline.generator.losses import Draws, Examples, denoising_losses
from creditline.generator.pipeline import Generator
from tests.random_galleries import random_gallery

DRAWS = Draws(timesteps=3, repeats=2, salt="test")
PLAIN = GradientSpace("cross-attn", draws=DRAWS)
WHITENED = replace(PLAIN, whitening=Whitening(damping=0.3))
RELATIVE = replace(PLAIN, weighting="relative")
_WORKS = 10


class Killed(Exception):
    """Simulates the end of the process."""


@dataclass
class KilledAfter:
    """Examples whose process ends when block number `blocks` is asked for."""

    examples: Examples
    blocks: int

    def __len__(self) -> int:
        return len(self.examples)

    def rows(self, rows: range) -> Examples:
        if self.blocks == 0:
            raise Killed
        self.blocks -= 1
        return self.examples.rows(rows)


@pytest.fixture
def works(random_generator: Generator) -> Gallery:
    return random_gallery(random_generator, "work", _WORKS)


@pytest.fixture
def queries(random_generator: Generator) -> Gallery:
    return random_gallery(random_generator, "query", 3)


def dense(generator: Generator, gallery: Gallery, space: GradientSpace) -> NDArray[np.float64]:
    """Gradients of all examples as they are: (N, P)."""
    layers = chosen_layers(generator.unet, space.parameters)
    measure = gradient_target_by_name(space.measure)
    gradients = per_sample_gradients(generator, gallery.examples, space.draws, layers, measure=measure)
    return gradients.double().numpy()


def assert_close(found: NDArray[np.float64], expected: NDArray[np.float64], relative: float = 1e-4) -> None:
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=relative * float(np.abs(expected).max()))


@pytest.mark.parametrize("parameters", ["cross-attn", "all"])
@pytest.mark.parametrize("measure", ["loss", "squared-l2"])
def test_products_of_rows_are_those_of_dense_gradients(
    random_generator: Generator,
    works: Gallery,
    queries: Gallery,
    tmp_path: Path,
    parameters: ParameterChoice,
    measure: str,
) -> None:
    space = GradientSpace(parameters, measure, DRAWS)
    rows = GradientRows(random_generator, space)
    rows.prepare(works, tmp_path)
    of_works, of_queries = (dense(random_generator, gallery, space) for gallery in (works, queries))
    assert_close(rows.inner_products(queries.examples), of_queries @ of_works.T)
    assert_close(rows.gram(), of_works @ of_works.T)
    assert rows.bytes_per_work == 4 * of_works.shape[1]


def test_products_are_the_same_in_blocks_of_columns() -> None:
    draw = np.random.default_rng(2)
    first, second = (draw.standard_normal((count, 23), dtype=np.float32) for count in (4, 6))
    expected = np.array([[sum(map(float, a * b)) for b in second] for a in first])
    np.testing.assert_allclose(products(first, second, block=5), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("parameters", ["cross-attn", "all"])
def test_products_of_whitened_rows_are_a_gradient_with_a_natural_one(
    random_generator: Generator,
    works: Gallery,
    queries: Gallery,
    tmp_path: Path,
    parameters: ParameterChoice,
) -> None:
    space = replace(WHITENED, parameters=parameters)
    rows = GradientRows(random_generator, space)
    rows.prepare(works, tmp_path)
    layers = chosen_layers(random_generator.unet, parameters)
    fisher = fit_ekfac(random_generator, works.examples, DRAWS, layers)
    of_works, of_queries = (dense(random_generator, gallery, space) for gallery in (works, queries))
    natural = fisher.natural(torch.from_numpy(of_works).float(), damping=0.3).double().numpy()
    assert_close(rows.inner_products(queries.examples), of_queries @ natural.T, relative=1e-3)
    assert_close(rows.gram(), of_works @ natural.T, relative=1e-3)


@pytest.mark.parametrize("space", [PLAIN, replace(PLAIN, whitening=Whitening(0.3, fitted="rows"))])
def test_compressed_rows_are_the_projections_of_whole_ones(
    random_generator: Generator, works: Gallery, queries: Gallery, tmp_path: Path, space: GradientSpace
) -> None:
    whole, few = (
        GradientRows(random_generator, space),
        GradientRows(random_generator, replace(space, compressed=64)),
    )
    whole.prepare(works, tmp_path / "whole")
    few.prepare(works, tmp_path / "few")
    projection = PermutedSignSum(whole.rows.shape[1], 64, 0)
    expected = projection.project(torch.from_numpy(np.array(whole.rows))).numpy()
    assert few.bytes_per_work == 4 * 64
    assert_close(few.rows.astype(np.float64), expected.astype(np.float64))
    of_queries = projection.project(whole.of_queries(queries.examples)).numpy()
    assert_close(few.inner_products(queries.examples), of_queries.astype(np.float64) @ expected.T)
    with pytest.raises(FingerprintMismatch):
        GradientRows(random_generator, replace(space, compressed=32)).prepare(works, tmp_path / "few")


def test_a_fisher_of_rows_needs_only_the_passes_of_the_gradients(
    random_generator: Generator, works: Gallery, queries: Gallery, tmp_path: Path
) -> None:
    space = GradientSpace("all", draws=DRAWS, whitening=Whitening(damping=0.3, fitted="rows"))
    plain = GradientRows(random_generator, replace(space, whitening=None))
    plain.prepare(works, tmp_path / "shared")
    rows = GradientRows(random_generator, space, plain)
    unread = cast(Examples, KilledAfter(works.examples, 0))
    rows.prepare(replace(works, examples=unread), tmp_path / "whitened")
    fisher = fisher_of_rows(plain.rows, chosen_layers(random_generator.unet, "all"))
    of_works, of_queries = (dense(random_generator, gallery, space) for gallery in (works, queries))
    natural = fisher.natural(torch.from_numpy(of_works).float(), damping=0.3).double().numpy()
    assert_close(rows.inner_products(queries.examples), of_queries @ natural.T, relative=1e-3)


def test_weighted_losses_have_the_same_mean_at_every_timestep(
    random_generator: Generator, works: Gallery
) -> None:
    losses = denoising_losses(random_generator, works.examples, DRAWS).numpy()
    weights = relative_draw_weights(losses, DRAWS).numpy()
    assert losses.mean(axis=0).max() > 2 * losses.mean(axis=0).min()
    by_timestep = (losses * weights).reshape(_WORKS, 3, 2).mean(axis=(0, 2))
    assert by_timestep == pytest.approx(np.full(3, by_timestep[0]), rel=1e-5)
    assert weights.mean() == pytest.approx(1.0)


def test_a_relative_row_weighs_each_timesteps_gradient_by_the_works_mean_loss_there(
    random_generator: Generator, works: Gallery, queries: Gallery, tmp_path: Path
) -> None:
    rows = GradientRows(random_generator, RELATIVE)
    rows.prepare(works, tmp_path)
    layers = chosen_layers(random_generator.unet, "cross-attn")
    mean_losses = (
        denoising_losses(random_generator, works.examples, DRAWS).view(_WORKS, 3, 2).mean(dim=(0, 2))
    )
    for found, gallery in (
        (torch.tensor(rows.rows), works),
        (rows.of_queries(queries.examples), queries),
    ):
        apart = per_sample_gradients(random_generator, gallery.examples, DRAWS, layers, by_timestep=True)
        weighted = (apart / mean_losses[None, :, None]).sum(dim=1) / (1 / mean_losses).sum()
        torch.testing.assert_close(found, weighted, rtol=1e-3, atol=1e-5 * float(weighted.abs().max()))


@pytest.mark.parametrize("space", [PLAIN, WHITENED, RELATIVE])
def test_scores_are_the_same_whatever_the_number_of_queries_at_once(
    random_generator: Generator, works: Gallery, tmp_path: Path, space: GradientSpace
) -> None:
    queries = random_gallery(random_generator, "query", 64).examples
    rows = GradientRows(random_generator, replace(space, draws=Draws(timesteps=2, repeats=1, salt="test")))
    rows.prepare(works, tmp_path)
    one, seven, all_at_once = (
        np.concatenate(
            [
                rows.inner_products(queries.rows(range(start, min(start + size, 64))))
                for start in range(0, 64, size)
            ]
        )
        for size in (1, 7, 64)
    )
    assert np.abs(one - all_at_once).max() <= 1e-3 * all_at_once.std()
    assert np.abs(seven - all_at_once).max() <= 1e-3 * all_at_once.std()


@pytest.mark.parametrize("blocks", [0, 1, 3, 4])
@pytest.mark.parametrize("weighting", ["noise", "relative"])
def test_rows_interrupted_anywhere_resume_there_and_end_with_the_same_numbers(
    random_generator: Generator,
    works: Gallery,
    tmp_path: Path,
    blocks: int,
    weighting: Weighting,
) -> None:
    space = replace(WHITENED, weighting=weighting)

    def rows() -> GradientRows:
        return GradientRows(random_generator, space, works_per_block=4)

    rows().prepare(works, tmp_path / "whole")
    killed = replace(works, examples=cast(Examples, KilledAfter(works.examples, blocks)))
    with pytest.raises(Killed):
        rows().prepare(killed, tmp_path / "killed")
    rows().prepare(works, tmp_path / "killed")
    for name in sorted(path.name for path in (tmp_path / "whole").glob("*.npy")):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    # In a safetensors file the order of what it was made from is left to chance.
    fishers = [load_file(tmp_path / name / "fisher.safetensors") for name in ("killed", "whole")]
    assert fishers[0].keys() == fishers[1].keys()
    assert all(torch.equal(fishers[0][name], fishers[1][name]) for name in fishers[0])


@pytest.mark.parametrize("space", [WHITENED, replace(WHITENED, weighting="relative")])
def test_finished_rows_are_opened_and_not_computed_again(
    random_generator: Generator, works: Gallery, queries: Gallery, tmp_path: Path, space: GradientSpace
) -> None:
    first, second = GradientRows(random_generator, space), GradientRows(random_generator, space)
    first.prepare(works, tmp_path)
    second.prepare(replace(works, examples=cast(Examples, KilledAfter(works.examples, 0))), tmp_path)
    expected = first.inner_products(queries.examples)
    np.testing.assert_array_equal(second.inner_products(queries.examples), expected)


@pytest.mark.parametrize(
    ("space", "artifact"), [(PLAIN, "rows.json"), (WHITENED, "fisher.safetensors"), (RELATIVE, "losses.json")]
)
def test_artifacts_of_another_generator_are_refused(
    random_generator: Generator, works: Gallery, tmp_path: Path, space: GradientSpace, artifact: str
) -> None:
    GradientRows(random_generator, space).prepare(works, tmp_path)
    other = Generator(random_generator.pipeline, "f" * 64, random_generator.directory)
    with pytest.raises(
        FingerprintMismatch,
        match=rf"{artifact} was made with generator .* delete it and run the command again",
    ) as refused:
        GradientRows(other, space).prepare(works, tmp_path)
    assert refused.value.field == "generator"


@pytest.mark.parametrize(
    ("space", "field"),
    [
        (replace(PLAIN, measure="squared-l2"), "space"),
        (replace(PLAIN, draws=replace(DRAWS, salt="other")), "space"),
        (replace(PLAIN, parameters="attn"), "space"),
        (PLAIN, "corpus"),
    ],
)
def test_rows_of_another_space_or_of_other_works_are_refused(
    random_generator: Generator, works: Gallery, tmp_path: Path, space: GradientSpace, field: str
) -> None:
    GradientRows(random_generator, PLAIN).prepare(works, tmp_path)
    wanted = works if field == "space" else replace(works, fingerprint="others")
    with pytest.raises(FingerprintMismatch, match=rf"rows.json was made with {field}") as refused:
        GradientRows(random_generator, space).prepare(wanted, tmp_path)
    assert refused.value.field == field


@pytest.mark.parametrize("kept_bytes", [0, 100, -10])
def test_a_truncated_fisher_is_refused_with_advice(
    random_generator: Generator, works: Gallery, tmp_path: Path, kept_bytes: int
) -> None:
    GradientRows(random_generator, WHITENED).prepare(works, tmp_path)
    cut = tmp_path / "fisher.safetensors"
    cut.write_bytes(cut.read_bytes()[:kept_bytes])
    with pytest.raises(
        InvalidInput, match=r"fisher.safetensors is truncated .* delete it and run the command again"
    ):
        GradientRows(random_generator, WHITENED).prepare(works, tmp_path)


def test_prepared_for_other_works_it_gives_those(
    random_generator: Generator, works: Gallery, queries: Gallery, tmp_path: Path
) -> None:
    rows, fresh = GradientRows(random_generator, RELATIVE), GradientRows(random_generator, RELATIVE)
    others = random_gallery(random_generator, "other", 4)
    rows.prepare(works, tmp_path / "works")
    rows.prepare(others, tmp_path / "others")
    fresh.prepare(others, tmp_path / "others")
    found = rows.inner_products(queries.examples)
    np.testing.assert_array_equal(found, fresh.inner_products(queries.examples))


def test_comparing_before_the_works_are_prepared_is_refused(
    random_generator: Generator, queries: Gallery
) -> None:
    rows = GradientRows(random_generator, WHITENED)
    for ask in (rows.of_queries, rows.inner_products):
        with pytest.raises(NotReady, match="call prepare with the works first"):
            ask(queries.examples)
    with pytest.raises(NotReady, match="call prepare with the works first"):
        rows.gram()
