"""The draws of the lab: works, subsets, queries and models."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from creditline.corpus.works import Corpus
from creditline.errors import InvalidInput
from creditline.evaluation.lab.plan import LabPlan, draw_queries, draw_subsets, draw_works, subset_jobs
from creditline.generator.reference import reference_corpus


def test_no_work_of_the_lab_is_a_copy_of_another_or_of_a_held_out_work() -> None:
    plan = LabPlan()
    works, held_out = draw_works(reference_corpus(), plan)
    groups = [work.duplicate_group for work in (*works, *held_out)]
    assert (len(works), len(held_out)) == (plan.works, plan.held_out_queries)
    assert len(set(groups)) == len(groups)


def test_a_corpus_with_too_few_works_is_refused(small_corpus: Corpus) -> None:
    with pytest.raises(InvalidInput, match="564 works without copies"):
        draw_works(small_corpus, LabPlan())


def test_subsets_are_halves_and_each_work_is_in_about_half_of_them() -> None:
    subsets = draw_subsets(LabPlan())
    assert set(subsets.sum(axis=1)) == {250}
    assert len({row.tobytes() for row in subsets}) == 64
    assert abs(subsets.mean(axis=0) - 0.5).max() < 0.3


def test_fewer_subsets_are_the_first_of_more() -> None:
    plan = LabPlan()
    assert np.array_equal(draw_subsets(replace(plan, subsets=8)), draw_subsets(plan)[:8])


def test_every_subset_is_trained_from_each_seed_and_no_two_models_share_one() -> None:
    plan = LabPlan()
    jobs, subsets = subset_jobs(plan), draw_subsets(plan)
    assert len({job.seed for job in jobs}) == len({job.name for job in jobs}) == len(jobs) == 128
    for number, job in enumerate(jobs):
        assert job.rows == tuple(np.flatnonzero(subsets[number // 2]))


def test_queries_use_no_work_twice_and_held_out_ones_are_real_works() -> None:
    plan = LabPlan()
    works, held_out = draw_works(reference_corpus(), plan)
    queries = draw_queries(works, held_out, plan)
    assert [sum(query.kind == kind for query in queries) for kind in ("generated", "heldout")] == [96, 64]
    assert len({query.id for query in queries}) == len(queries)
    assert len({query.seed for query in queries[:96]}) == 96
    assert {query.prompt for query in queries[:64]} <= {work.caption for work in works}
    assert [query.prompt for query in queries[96:]] == [work.caption for work in held_out]
