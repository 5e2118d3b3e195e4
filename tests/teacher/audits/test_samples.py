"""The works that an audit scores."""

from __future__ import annotations

import numpy as np
import pytest

from creditline.corpus.withdrawn import Withdrawn
from creditline.corpus.works import Corpus
from creditline.errors import NotFound
from creditline.teacher.audits.samples import ServedWork, audit_seed, draw_sample, served_works


def test_copies_follow_the_work_that_they_are_listed_under_without_an_expectation() -> None:
    answer = {
        "works": [
            {"id": "a", "expected_influence": 0.5, "copies": ["a2", "a3"]},
            {"id": "b", "expected_influence": 0.25, "copies": []},
        ]
    }
    assert served_works(answer) == (
        ServedWork("a", 0.5),
        ServedWork("a2", None),
        ServedWork("a3", None),
        ServedWork("b", 0.25),
    )


def test_every_unlisted_work_is_drawn_equally_often_and_no_listed_one_ever(small_corpus: Corpus) -> None:
    served = [ServedWork(work_id, None) for work_id in small_corpus.ids[:10]]
    counts = np.zeros(len(small_corpus))
    repeats = 2000
    for number in range(repeats):
        sample = draw_sample(small_corpus, served, size=6, seed=audit_seed(f"attribution-{number}"))
        assert len(set(sample.drawn)) == 6
        assert sample.others == 30
        counts[list(sample.drawn)] += 1
    assert counts[:10].sum() == 0
    # Each of 30 works is expected in 400 of 2,000 samples, with a deviation of 18.
    assert np.abs(counts[10:] - repeats * 6 / 30).max() < 5 * 18


def test_a_withdrawn_work_is_never_counted_as_missed_but_is_judged_when_it_was_served(
    small_corpus: Corpus,
) -> None:
    served = [ServedWork(work_id, None) for work_id in small_corpus.ids[:3]]
    leaving = next(work.contributor for work in small_corpus.works[5:])
    withdrawn = Withdrawn(frozenset({small_corpus.ids[0], small_corpus.ids[4]}), frozenset({leaving}))
    sample = draw_sample(small_corpus, served, size=100, seed=1, withdrawn=withdrawn)
    assert sample.listed == (0, 1, 2)
    covered = {row for row, work in enumerate(small_corpus) if withdrawn.covers(work.id, work.contributor)}
    assert {4, 5} <= covered
    assert set(sample.drawn) == set(range(len(small_corpus))) - covered - {0, 1, 2}
    assert sample.others == len(sample.drawn)


def test_the_sample_belongs_to_the_attribution(small_corpus: Corpus) -> None:
    served = [ServedWork(small_corpus.ids[0], None)]
    draws = [
        draw_sample(small_corpus, served, size=8, seed=audit_seed(name)) for name in ("one", "one", "two")
    ]
    assert draws[0] == draws[1]
    assert draws[0].drawn != draws[2].drawn


def test_where_few_works_are_left_all_of_them_are_scored(small_corpus: Corpus) -> None:
    served = [ServedWork(work_id, None) for work_id in small_corpus.ids[:-3]]
    sample = draw_sample(small_corpus, served, size=96, seed=1)
    assert sorted(sample.drawn) == [37, 38, 39]
    assert sample.others == 3


def test_an_answer_that_lists_a_work_twice_cannot_be_judged(small_corpus: Corpus) -> None:
    served = [ServedWork(small_corpus.ids[0], None)] * 2
    with pytest.raises(NotFound, match="same work twice"):
        draw_sample(small_corpus, served, size=4, seed=1)
