"""Agreement of methods with exact effects, on cases computed by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from creditline.errors import InvalidInput
from creditline.evaluation.lab.exact.comparison import (
    column_pearson,
    crossed_ratio,
    pooled_correlation,
    rank_agreement,
    removal_agreement,
)
from creditline.evaluation.lab.exact.plan import ExactPlan, LeftOut
from creditline.evaluation.lab.exact.record import ExactRecord
from creditline.evaluation.lab.plan import LabQuery

EFFECTS = np.array([[3.0, 1.0, 2.0, 0.0], [0.0, 1.0, 4.0, 9.0]])
SETS = (LeftOut("a", "random", (0,)), LeftOut("b", "random", (1, 2)), LeftOut("c", "random", (3,)))


def _record(rises: np.ndarray) -> ExactRecord:
    return ExactRecord(
        plan=ExactPlan(),
        generator="generator",
        corpus="corpus",
        queries=tuple(LabQuery(f"exact-{row}", "generated", "prompt", 0) for row in range(2)),
        sets=SETS,
        effects=EFFECTS,
        losses=np.concatenate([np.full((1, 2), 5.0), 5.0 + rises]),
        pictures=np.zeros((2, 1, 1, 3), dtype=np.uint8),
        latents=np.zeros((2, 1, 1, 1), dtype=np.float32),
    )


def test_rises_that_are_the_sums_of_effects_are_fully_predicted() -> None:
    record = _record(np.array([[3.0, 0.0], [3.0, 5.0], [0.0, 9.0]]))
    assert pooled_correlation(record).value == pytest.approx(1.0)


def test_sums_of_scores_count_from_the_mean_of_the_works() -> None:
    centred = EFFECTS - EFFECTS.mean(axis=1, keepdims=True)
    record = _record(np.stack([centred[:, 0], centred[:, 1] + centred[:, 2], centred[:, 3]]))
    for scores in (EFFECTS, EFFECTS + 100.0):
        assert np.allclose(removal_agreement(record, scores), 1.0)
        assert np.allclose(removal_agreement(record, -scores), -1.0)


def test_ranks_are_compared_query_by_query() -> None:
    record = _record(np.zeros((3, 2)))
    assert np.allclose(rank_agreement(record, EFFECTS**3), 1.0)
    assert np.allclose(rank_agreement(record, EFFECTS * [[1.0], [-1.0]]), [1.0, -1.0])


def test_queries_without_exact_effects_count_only_for_losses_without_sets() -> None:
    rises = np.array([[3.0, 0.0], [3.0, 5.0], [0.0, 9.0]])
    record = replace(_record(rises), effects=EFFECTS[:1])
    assert rank_agreement(record, EFFECTS).tolist() == [1.0]
    assert removal_agreement(record, EFFECTS).shape == (2,)
    assert pooled_correlation(record).value == pytest.approx(1.0)


def test_a_constant_column_has_no_correlation() -> None:
    assert column_pearson(np.ones((3, 1)), np.arange(3.0)[:, None]).tolist() == [0.0]


def test_the_ratio_judges_a_method_on_queries_on_which_it_was_not_chosen() -> None:
    ours = {"even": np.array([0.9, 0.1, 0.9, 0.1]), "odd": np.array([0.2, 0.8, 0.2, 0.8])}
    theirs = {"flat": np.full(4, 0.1)}
    # "odd" is best on the odd queries and therefore judged on the even ones, and the other way round.
    assert crossed_ratio(ours, theirs).value == pytest.approx(0.15 / 0.1)


def test_a_record_with_a_loss_that_is_not_a_number_is_refused() -> None:
    with pytest.raises(InvalidInput, match="NaN"):
        _record(np.full((3, 2), np.nan))
