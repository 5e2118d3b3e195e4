"""Losses of queries under the captions of works."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from creditline.attribution.groups.conditions import Conditions, condition_losses
from creditline.errors import InvalidInput
from creditline.generator.losses import Draws, denoising_losses
from creditline.generator.pipeline import Generator
from tests.random_galleries import random_gallery

DRAWS = Draws(timesteps=3, salt="test")


def test_works_with_one_caption_share_a_condition_and_the_empty_prompt_comes_last() -> None:
    conditions = Conditions.of(("a cat", "a dog", "a cat"))
    assert conditions.prompts == ("a cat", "a dog", "")
    assert conditions.of_work.tolist() == [0, 1, 0]


def test_a_querys_loss_under_a_text_is_its_loss_with_that_text_and_its_own_noise(
    random_generator: Generator, tmp_path: Path
) -> None:
    queries = random_gallery(random_generator, "query", 3).examples
    text = random_gallery(random_generator, "work", 30).examples.text
    found = condition_losses(random_generator, queries, text, tmp_path, DRAWS)
    assert found.shape == (3, 30, 3)
    for place in (0, 7, 29):
        swapped = replace(queries, text=text[place].expand(3, -1, -1))
        expected = denoising_losses(random_generator, swapped, DRAWS).numpy()
        np.testing.assert_allclose(found[:, place], expected, rtol=1e-4)
    assert np.ptp(found, axis=1).min() > 1e-5


def test_finished_queries_are_not_computed_again(random_generator: Generator, tmp_path: Path) -> None:
    queries = random_gallery(random_generator, "query", 2).examples
    text = random_gallery(random_generator, "work", 2).examples.text
    reported: list[str] = []
    first = condition_losses(random_generator, queries, text, tmp_path, DRAWS, reported.append)
    next(tmp_path.glob(f"*/{queries.ids[1]}.npy")).unlink()
    second = condition_losses(random_generator, queries, text, tmp_path, DRAWS, reported.append)
    np.testing.assert_array_equal(first, second)
    assert [line.split(":")[0] for line in reported] == [*queries.ids, queries.ids[1]]
    more = replace(DRAWS, timesteps=4)
    assert condition_losses(random_generator, queries, text, tmp_path, more).shape == (2, 2, 4)


def test_a_game_without_conditions_is_refused(random_generator: Generator, tmp_path: Path) -> None:
    queries = random_gallery(random_generator, "query", 1).examples
    with pytest.raises(InvalidInput, match="at least one condition"):
        condition_losses(random_generator, queries, queries.text[:0], tmp_path, DRAWS)
