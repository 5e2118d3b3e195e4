"""The search of λ uses the choosing subsets alone."""

from __future__ import annotations

import numpy as np
import pytest

from creditline.evaluation.lab.judging.scoring import CHOOSING
from creditline.evaluation.lab.judging.tuning import TuningResult, best, evaluate_regularisations
from creditline.evaluation.lab.plan import LabPlan, LabQuery
from creditline.evaluation.lab.record import LabRecord


@pytest.fixture
def scores() -> np.ndarray:
    return np.random.default_rng(1).normal(size=(3, 30))


@pytest.fixture
def record(scores: np.ndarray) -> LabRecord:
    """Losses that the scores predict on the choosing subsets; their negatives on the judging subsets."""
    random = np.random.default_rng(2)
    subsets = random.random((CHOOSING + 20, 30)) < 0.5
    losses = 100.0 - subsets @ scores.T
    losses[CHOOSING:] = 100.0 + subsets[CHOOSING:] @ scores.T
    return LabRecord(
        plan=LabPlan(subsets=CHOOSING + 20),
        generator="generator",
        corpus="corpus",
        work_ids=tuple(map(str, range(30))),
        queries=tuple(LabQuery(f"q{number}", "generated", "a prompt", 1) for number in range(3)),
        subsets=subsets,
        losses=np.repeat(losses[:, None, :, None], 2, axis=1).astype(np.float32),
        pictures=np.zeros((3, 8, 8, 3), dtype=np.uint8),
        latents=np.zeros((3, 1, 2, 2), dtype=np.float32),
    )


def test_the_best_value_is_chosen_on_the_choosing_subsets(record: LabRecord, scores: np.ndarray) -> None:
    found = evaluate_regularisations(record, [0, 1, 2], {0.1: scores, 1.0: -scores})
    assert found == [
        TuningResult(0.1, pytest.approx(1.0), pytest.approx(-1.0)),
        TuningResult(1.0, pytest.approx(-1.0), pytest.approx(1.0)),
    ]
    assert best(found).regularisation == 0.1


def test_scores_are_matched_with_their_queries(record: LabRecord, scores: np.ndarray) -> None:
    assert evaluate_regularisations(record, [2], {1.0: scores[2:]})[0].choosing == pytest.approx(1.0)
    assert evaluate_regularisations(record, [0], {1.0: scores[2:]})[0].choosing < 0.9
