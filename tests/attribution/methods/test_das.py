"""DAS against a least-squares fit that is repeated without each work."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from creditline.attribution.attributor import attribute
from creditline.attribution.methods.das import DiffusionAttributionScore
from creditline.attribution.methods.gradient_rows import GradientRows, GradientSpace
from creditline.attribution.methods.trak import DualKernel
from creditline.errors import NotReady
from creditline.generator.losses import Draws, denoising_losses
from creditline.generator.pipeline import Generator
from tests.random_galleries import random_gallery

DRAWS = Draws(timesteps=2, repeats=1, salt="test")
SPACE = GradientSpace("cross-attn", "mean", DRAWS)


def test_it_is_the_formula_written_out(random_generator: Generator, tmp_path: Path) -> None:
    works, queries = random_gallery(random_generator, "work", 7), random_gallery(random_generator, "query", 2)
    method = DiffusionAttributionScore("das", random_generator, GradientRows(random_generator, SPACE), 0.5)
    found = attribute(method, works, queries, tmp_path).values
    rows = GradientRows(random_generator, SPACE)
    rows.prepare(works, tmp_path / "again")
    features, asked = rows.rows.astype(np.float64), rows.of_queries(queries.examples).double().numpy()
    gram = features @ features.T
    damped = gram + 0.5 * np.trace(gram) / 7 * np.eye(7)
    leverage = np.diag(gram @ np.linalg.inv(damped))
    residual = np.sqrt(
        denoising_losses(random_generator, works.examples, DRAWS).double().numpy().mean(axis=1)
    )
    expected = np.abs(asked @ features.T @ np.linalg.inv(damped)) * residual / (1.0 - leverage)
    np.testing.assert_allclose(found, expected, rtol=1e-3)


def test_the_step_is_what_ridge_regression_does_without_a_row() -> None:
    """The closed form behind the score: leave-one-out coefficients, against a new fit."""
    random = np.random.default_rng(1)
    features, target, asked = random.normal(size=(9, 4)), random.normal(size=9), random.normal(size=4)
    gram = features @ features.T
    absolute = 0.3 * np.trace(gram) / 9
    kernel = DualKernel(gram)

    def fitted(kept: list[int]) -> np.ndarray:
        rows = features[kept]
        return np.linalg.solve(rows.T @ rows + absolute * np.eye(4), rows.T @ target[kept])

    residuals = target - features @ fitted(list(range(9)))
    moved = [
        asked @ (fitted(list(range(9))) - fitted([row for row in range(9) if row != n])) for n in range(9)
    ]
    solved = kernel.scores((features @ asked)[None], 0.3)[0]
    np.testing.assert_allclose(moved, solved * residuals / (1.0 - kernel.leverages(0.3)), rtol=1e-6)


def test_it_must_be_prepared(random_generator: Generator) -> None:
    method = DiffusionAttributionScore("das", random_generator, GradientRows(random_generator, SPACE), 0.5)
    with pytest.raises(NotReady, match="call prepare"):
        method.scores(random_gallery(random_generator, "query", 1))
