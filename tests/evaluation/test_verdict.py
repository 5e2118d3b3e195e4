"""A verdict from a sample of the rest against the truth over all works."""

from __future__ import annotations

import numpy as np
import pytest

from creditline.api.answers import Verdict
from creditline.errors import InvalidInput
from creditline.evaluation.agreement import ndcg_at_k, recall_at_k
from creditline.evaluation.verdict import JudgedWork, judge

WORKS = 1000
LISTED = 20


def influences(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_t(3, size=WORKS)


def served(influence: np.ndarray, seed: int) -> list[int]:
    """Rows of a list that is good but not perfect, best first."""
    guessed = influence + np.random.default_rng(seed).normal(size=WORKS)
    return np.argsort(-guessed)[:LISTED].tolist()


def judged(influence: np.ndarray, listed: list[int], sampled: list[int], *, seed: int = 0) -> Verdict:
    def works(rows: list[int]) -> list[JudgedWork]:
        return [JudgedWork(str(row), influence[row]) for row in rows]

    return judge(
        works(listed), works(sampled), others=WORKS - len(listed), query_rise=1.1, seconds=2.0, seed=seed
    )


def others_of(listed: list[int]) -> list[int]:
    return [row for row in range(WORKS) if row not in set(listed)]


def test_a_verdict_over_all_works_is_the_truth_and_certain() -> None:
    influence = influences(1)
    listed = served(influence, 2)
    verdict = judged(influence, listed, others_of(listed))
    scores = np.full(WORKS, -1.0)
    scores[listed] = np.arange(LISTED, 0, -1)
    positive = np.maximum(influence, 0.0)
    assert verdict.recall.value == pytest.approx(recall_at_k(scores, influence, LISTED))
    assert verdict.ndcg.value == pytest.approx(ndcg_at_k(scores, influence, LISTED))
    assert verdict.missed_influence.value == pytest.approx(1.0 - positive[listed].sum() / positive.sum())
    assert verdict.missed_influence.low == verdict.missed_influence.high == verdict.missed_influence.value


def test_the_interval_of_missed_influence_covers_the_truth_about_as_often_as_it_says() -> None:
    covered = 0
    for seed in range(25):
        influence = influences(seed)
        listed = served(influence, seed + 100)
        truth = judged(influence, listed, others_of(listed)).missed_influence.value
        sample = np.random.default_rng(seed).choice(others_of(listed), 200, replace=False).tolist()
        missed = judged(influence, listed, sample).missed_influence
        covered += missed.low <= truth <= missed.high
    assert covered >= 21


def test_the_best_list_has_full_recall_and_a_random_one_hardly_any() -> None:
    influence = influences(5)
    best = np.argsort(-influence)[:LISTED].tolist()
    assert judged(influence, best, others_of(best)).recall.value == 1.0
    assert judged(influence, best, others_of(best)).ndcg.value == pytest.approx(1.0)
    random = np.random.default_rng(6).permutation(WORKS)[:LISTED].tolist()
    assert judged(influence, random, others_of(random)).recall.value <= 0.2


def test_served_influence_that_follows_the_teacher_correlates_fully() -> None:
    influence = influences(7)
    works = [JudgedWork(str(row), influence[row], expected_influence=influence[row] / 2) for row in range(70)]
    verdict = judge(works[:20], works[20:], others=WORKS - 20, query_rise=1.1, seconds=2.0, seed=0)
    assert verdict.rank_correlation.value == pytest.approx(1.0)


def test_works_without_served_influence_are_left_out_of_the_correlation_only() -> None:
    listed = [JudgedWork("a", 3.0, 2.0), JudgedWork("b", 1.0, 1.0)]
    sample = [JudgedWork("c", 9.0), JudgedWork("d", -1.0)]
    verdict = judge(listed, sample, others=2, query_rise=1.2, seconds=1.0, seed=0)
    assert verdict.rank_correlation.value == pytest.approx(1.0)
    assert verdict.missed_influence.value == pytest.approx(9.0 / 13.0)
    assert [(work.id, work.listed) for work in verdict.works] == [
        ("a", True),
        ("b", True),
        ("c", False),
        ("d", False),
    ]


def test_the_same_seed_gives_the_same_verdict() -> None:
    influence = influences(9)
    listed = served(influence, 10)
    sample = others_of(listed)[::7]
    assert judged(influence, listed, sample, seed=3) == judged(influence, listed, sample, seed=3)


def test_an_empty_list_and_an_impossible_sample_are_refused() -> None:
    one = [JudgedWork("a", 1.0)]
    with pytest.raises(InvalidInput, match="no listed work"):
        judge([], one, others=5, query_rise=1.0, seconds=0.0, seed=0)
    with pytest.raises(InvalidInput, match="cannot represent"):
        judge(one, [], others=5, query_rise=1.0, seconds=0.0, seed=0)
    with pytest.raises(InvalidInput, match="cannot represent"):
        judge(one, one, others=0, query_rise=1.0, seconds=0.0, seed=0)
