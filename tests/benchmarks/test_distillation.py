"""What the figures of distillation are made of, on cases whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from creditline.distillation.labels.label_set import read_labels
from creditline.distillation.training.recipes import OURS, PAPER, RECIPES
from creditline.evaluation.lab.record import read_record
from creditline.evaluation.lab.setting import REFERENCE
from tests.benchmarks.distillation import LAB_LABELS, _refuse_shared_prompts, lab_queries
from tests.benchmarks.distillation_reference import (
    crossed,
    fitted_warmth,
    shares,
    softmax_shares,
    variation,
)
from tests.distillation.assessment.test_held_out import held_out
from tests.distillation.label_sets import label_set


def test_shares_sum_to_one_and_nothing_negative_earns() -> None:
    found = shares(np.array([[2.0, -5.0, 6.0], [0.0, 1.0, 0.0]]))
    np.testing.assert_allclose(found, [[0.25, 0.0, 0.75], [0.0, 1.0, 0.0]])


def test_variation_is_what_must_be_moved() -> None:
    first, second = np.array([[0.5, 0.5, 0.0]]), np.array([[0.2, 0.5, 0.3]])
    assert variation(first, second) == pytest.approx([0.3])
    assert variation(first, first) == pytest.approx([0.0])


def test_the_warmth_that_made_the_shares_is_found() -> None:
    cosines = np.random.default_rng(1).uniform(-0.2, 0.9, (20, 50))
    assert fitted_warmth(cosines, softmax_shares(cosines, 0.13)) == pytest.approx(0.13, rel=0.02)


def test_every_query_is_looked_at_once_by_what_the_other_half_fitted() -> None:
    given = held_out()
    count = len(given.queries)

    def who(fitting: np.ndarray, looking: np.ndarray) -> np.ndarray:
        assert not set(fitting) & set(looking)
        assert len(fitting) + len(looking) == count
        return looking[:, None]

    assert crossed(given, who)[:, 0].tolist() == list(range(count))


def test_the_labels_of_the_labs_students_share_no_prompt_with_its_queries() -> None:
    record = read_record(REFERENCE / "record.safetensors")
    labels = read_labels(LAB_LABELS)
    _refuse_shared_prompts(labels, record)
    assert labels.teacher == "consensus-gradients"
    assert labels.influence.shape[1] == len(record.work_ids)
    assert len(lab_queries(record)) == len(record.query_rows("generated"))


def test_a_shared_prompt_is_refused() -> None:
    record = read_record(REFERENCE / "record.safetensors")
    labels = label_set()
    object.__setattr__(labels.queries[0], "prompt", record.queries[0].prompt.upper())
    with pytest.raises(ValueError, match="1 prompts of the lab are labelled"):
        _refuse_shared_prompts(labels, record)


def test_every_recipe_is_ours_but_for_what_its_name_says() -> None:
    assert {OURS, PAPER} < set(RECIPES)
    assert RECIPES[PAPER].hidden == 768
    assert RECIPES[PAPER].layers == 3
    assert RECIPES[PAPER].loss.value == "rank"
    assert len(set(RECIPES.values())) == len(RECIPES)
