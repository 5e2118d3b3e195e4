"""Swapped prompts by the generator's loss: every picture is compared under the same noise."""

from __future__ import annotations

import numpy as np
import pytest

from creditline.distillation.assessment.prompt_losses import mean_losses, prompt_loss_figures
from creditline.generator.losses import Draws
from creditline.generator.pipeline import Generator
from tests.distillation.label_sets import queries

_DRAWS = Draws(timesteps=2, salt="test")


@pytest.mark.slow
def test_losses_differ_by_prompt_only_and_a_generator_that_learned_nothing_finds_no_swaps(
    random_generator: Generator,
) -> None:
    asked = queries(12, 0)
    prompts = [query.prompt for query in asked]
    own = mean_losses(random_generator, asked, prompts, draws=_DRAWS)
    again = mean_losses(random_generator, asked, [prompts[0], *prompts[:0:-1]], draws=_DRAWS)
    assert own.shape == (12,)
    assert own[0] == pytest.approx(again[0], rel=1e-5), "the noise is that of the picture's place"
    assert np.abs(own[1:] - again[1:]).max() > 1e-7
    figures = prompt_loss_figures(random_generator, asked, seed=3, draws=_DRAWS)
    auroc = figures["prompt_swap_auroc_by_loss"]
    assert auroc.low < 0.75
    assert list(figures) == [
        "prompt_swap_found_by_loss",
        "prompt_swap_false_alarms_by_loss",
        "prompt_swap_auroc_by_loss",
    ]
