"""Methods that compare gradients, against their formulas written out on dense gradients in float64."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from creditline.attribution.attributor import Gallery, attribute
from creditline.attribution.fisher.ekfac import fit_ekfac
from creditline.attribution.gradients.parameters import chosen_layers
from creditline.attribution.gradients.per_sample import per_sample_gradients
from creditline.attribution.gradients.targets import gradient_target_by_name
from creditline.attribution.methods.gradient_methods import (
    GradientCosine,
    GradientDot,
    GradientMethod,
    RenormalisedGradientDot,
    Trak,
    row_norms,
)
from creditline.attribution.methods.gradient_rows import GradientRows, GradientSpace, Whitening
from creditline.attribution.methods.trak import TrakDivisor
from creditline.errors import InvalidInput, NotReady
from creditline.generator.losses import Draws
from creditline.generator.pipeline import Generator
from tests.random_galleries import random_gallery

DRAWS = Draws(timesteps=3, repeats=1, salt="test")
LOSS = GradientSpace("cross-attn", draws=DRAWS)
OUTPUT = GradientSpace("cross-attn", "squared-l2", DRAWS)

_Matrix = NDArray[np.float64]


@pytest.fixture
def works(random_generator: Generator) -> Gallery:
    return random_gallery(random_generator, "work", 9)


@pytest.fixture
def queries(random_generator: Generator) -> Gallery:
    return random_gallery(random_generator, "query", 3)


def dense(generator: Generator, gallery: Gallery, space: GradientSpace) -> _Matrix:
    """All gradients as they are: (N, P) float64."""
    layers = chosen_layers(generator.unet, space.parameters)
    measure = gradient_target_by_name(space.measure)
    gradients = per_sample_gradients(generator, gallery.examples, space.draws, layers, measure=measure)
    return gradients.double().numpy()


def methods(generator: Generator) -> list[GradientMethod]:
    """One of each kind, on rows of its own."""
    return [
        GradientDot("dot", GradientRows(generator, LOSS)),
        GradientCosine("cosine", GradientRows(generator, LOSS)),
        RenormalisedGradientDot("renormalised", GradientRows(generator, LOSS)),
        Trak("d-trak", GradientRows(generator, OUTPUT), 0.1),
    ]


def test_dot_cosine_and_renormalised_are_their_formulas(
    random_generator: Generator, works: Gallery, queries: Gallery, tmp_path: Path
) -> None:
    rows = GradientRows(random_generator, LOSS)
    of_works, of_queries = (dense(random_generator, gallery, LOSS) for gallery in (works, queries))
    for method, divisor in (
        (GradientDot("dot", rows), lambda query, work: 1.0),
        (GradientCosine("cosine", rows), lambda query, work: np.linalg.norm(query) * np.linalg.norm(work)),
        (RenormalisedGradientDot("renormalised", rows), lambda query, work: np.linalg.norm(work)),
    ):
        found = attribute(method, works, queries, tmp_path).values
        expected = [[query @ work / divisor(query, work) for work in of_works] for query in of_queries]
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("divisor", ["one", "relative", "renormalised"])
@pytest.mark.parametrize("regularisation", [0.05, 1.0, 50.0])
@pytest.mark.parametrize("space", [LOSS, OUTPUT])
def test_trak_is_its_formula(
    random_generator: Generator,
    works: Gallery,
    queries: Gallery,
    tmp_path: Path,
    space: GradientSpace,
    regularisation: float,
    divisor: TrakDivisor,
) -> None:
    method = Trak("trak", GradientRows(random_generator, space), regularisation, divisor)
    found = attribute(method, works, queries, tmp_path).values
    of_works, of_queries = (dense(random_generator, gallery, space) for gallery in (works, queries))
    solved = _solved(of_works, regularisation)
    lengths = {
        "one": np.ones(len(works)),
        "relative": np.linalg.norm(solved, axis=1),
        "renormalised": np.linalg.norm(of_works, axis=1),
    }
    expected = of_queries @ solved.T / lengths[divisor]
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3 * np.abs(expected).max())


def _solved(of_works: _Matrix, regularisation: float) -> _Matrix:
    """(ΦᵀΦ + λ)⁻¹ φ(work) for every work, (N, P), within the works' own span: λ is 0 nowhere else."""
    basis, singular, coordinates = np.linalg.svd(of_works, full_matrices=False)
    absolute = regularisation * np.mean(np.sum(of_works**2, axis=1))
    return basis @ np.diag(singular / (singular**2 + absolute)) @ coordinates


def test_on_whitened_rows_the_dot_is_an_influence_function(
    random_generator: Generator, works: Gallery, queries: Gallery, tmp_path: Path
) -> None:
    space = GradientSpace("cross-attn", draws=DRAWS, whitening=Whitening(damping=0.2))
    method = GradientDot("influence", GradientRows(random_generator, space))
    found = attribute(method, works, queries, tmp_path).values
    layers = chosen_layers(random_generator.unet, "cross-attn")
    fisher = fit_ekfac(random_generator, works.examples, DRAWS, layers)
    of_queries = per_sample_gradients(random_generator, queries.examples, DRAWS, layers)
    natural = fisher.natural(of_queries, damping=0.2).double().numpy()
    expected = natural @ dense(random_generator, works, LOSS).T
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3 * np.abs(expected).max())


def test_a_work_as_query_is_its_own_nearest_and_has_a_cosine_of_1(
    random_generator: Generator, works: Gallery, tmp_path: Path
) -> None:
    method = GradientCosine("cosine", GradientRows(random_generator, LOSS))
    scores = attribute(method, works, works, tmp_path).values
    assert np.diag(scores) == pytest.approx(np.ones(len(works)), abs=1e-4)
    assert scores.argmax(axis=1).tolist() == list(range(len(works)))


def test_a_querys_scores_do_not_depend_on_the_others(
    random_generator: Generator, works: Gallery, queries: Gallery, tmp_path: Path
) -> None:
    for method in methods(random_generator):
        together = attribute(method, works, queries, tmp_path / method.name).values
        alone = np.concatenate([method.scores(queries.rows([row])) for row in range(3)])
        assert np.abs(alone - together).max() <= 1e-3 * together.std(), method.name


def test_methods_share_the_rows_of_one_space(
    random_generator: Generator, works: Gallery, queries: Gallery, tmp_path: Path
) -> None:
    rows = GradientRows(random_generator, LOSS)
    attribute(GradientDot("dot", rows), works, queries, tmp_path / "first")
    attribute(Trak("trak", rows, 1.0), works, queries, tmp_path / "second")
    assert not (tmp_path / "second").exists()


def test_a_query_costs_a_gradient_and_a_work_its_row(
    random_generator: Generator, works: Gallery, queries: Gallery, tmp_path: Path
) -> None:
    width = dense(random_generator, works.rows([0]), LOSS).shape[1]
    for method in methods(random_generator):
        cost = attribute(method, works, queries, tmp_path / method.name).cost
        assert (cost.passes_per_query, cost.bytes_per_work) == (9.0, 4.0 * width)


def test_scores_before_the_works_are_known_are_refused(random_generator: Generator, queries: Gallery) -> None:
    for method in methods(random_generator):
        with pytest.raises(NotReady, match="call prepare with the works first"):
            method.scores(queries)


def test_a_regularisation_of_0_is_refused(
    random_generator: Generator, works: Gallery, queries: Gallery, tmp_path: Path
) -> None:
    with pytest.raises(InvalidInput, match=r"regularisation 0\.0"):
        attribute(Trak("trak", GradientRows(random_generator, LOSS), 0.0), works, queries, tmp_path)


def test_a_rows_norm_is_its_length() -> None:
    rows = np.array([[3.0, 4.0], [0.0, 0.0]], dtype=np.float32)
    assert row_norms(rows).tolist() == [5.0, 0.0]
