"""What the attributors' benchmark calls invariant, on scores whose differences are known."""

from __future__ import annotations

import numpy as np
import pytest

from creditline.generator.pipeline import Generator
from tests.benchmarks.attributors import in_batches, moved_by, same_first
from tests.random_galleries import random_gallery


def test_scores_move_in_units_of_their_spread() -> None:
    scores = np.array([[0.0, 2.0], [0.0, 20.0]])
    moved = scores + np.array([[0.0, 0.1], [0.0, 0.1]])
    assert moved_by([scores, scores, moved]) == pytest.approx(0.1)


def test_the_first_works_are_compared_as_sets() -> None:
    scores = np.arange(300.0)[None]
    swapped = scores.copy()
    swapped[0, [298, 299]] = swapped[0, [299, 298]]
    assert same_first([scores, swapped])
    assert not same_first([scores, -scores])


def test_batches_are_joined_in_order(random_generator: Generator) -> None:
    examples = random_gallery(random_generator, "work", 10).examples
    rows = in_batches(lambda part: part.latents.flatten(1).numpy(), examples, 4)
    np.testing.assert_array_equal(rows, examples.latents.flatten(1).numpy())
