"""Leave-K-out: the works that each model is trained without, and the record of these models."""

from __future__ import annotations

import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from creditline.corpus.works import Corpus
from creditline.errors import InvalidInput, NotReady
from creditline.evaluation.lab.plan import LOSS_DRAWS
from creditline.evaluation.lab.removal.removals import (
    Removal,
    RemovalRecord,
    collect_removals,
    contributor_removals,
    method_removals,
    nothing_removed,
    pictures_path,
    random_removals,
    read_removals,
    retrain_without,
    write_removals,
)
from creditline.evaluation.lab.retraining.workshop import Workshop, load_weights
from creditline.generator.losses import denoising_losses
from creditline.generator.pipeline import Generator

REMOVALS = (
    *method_removals("made-up", np.arange(12.0)[None], ["generated-001"], 3),
    *nothing_removed(["generated-000", "generated-004"], [7]),
    Removal("contributor-00", "contributor", "Somebody", (0, 5), ()),
)


def test_a_methods_removal_is_its_first_k_works_for_each_query() -> None:
    scores = np.array([[0.1, 9.0, -3.0, 4.0, 4.5], [5.0, -9.0, 1.0, 2.0, 3.0]])
    first, second = method_removals("trak", scores, ["query-a", "query-b"], 3)
    assert (first.rows, second.rows) == ((1, 3, 4), (0, 3, 4))
    assert (first.name, first.reason, first.subject) == ("trak-query-a", "trak", "query-a")
    assert second.queries == ("query-b",)


def test_works_of_equal_score_are_removed_in_the_works_order() -> None:
    assert method_removals("flat", np.zeros((1, 6)), ["query"], 2)[0].rows == (0, 1)


def test_scores_of_another_number_of_queries_are_refused() -> None:
    with pytest.raises(ValueError, match="longer"):
        method_removals("trak", np.zeros((2, 6)), ["query"], 2)


def test_random_removals_are_distinct_works_of_the_given_number_drawn_from_the_seed() -> None:
    drawn = random_removals(50, 8, 5, ["a", "b"], seed=3)
    assert [len(set(removal.rows)) for removal in drawn] == [8] * 5
    assert all(removal.rows == tuple(sorted(removal.rows)) for removal in drawn)
    assert {row for removal in drawn for row in removal.rows} <= set(range(50))
    assert len({removal.rows for removal in drawn}) == len({removal.name for removal in drawn}) == 5
    assert all(removal.queries == ("a", "b") for removal in drawn)
    assert random_removals(50, 8, 5, ["a", "b"], seed=3) == drawn
    assert random_removals(50, 8, 3, ["a", "b"], seed=3) == drawn[:3]
    assert random_removals(50, 8, 5, ["a", "b"], seed=4) != drawn


def test_contributors_are_removed_with_all_their_works_the_largest_first(small_corpus: Corpus) -> None:
    counts = Counter(work.contributor for work in small_corpus)
    removals = contributor_removals(small_corpus, 4)
    assert [len(removal.rows) for removal in removals] == [count for _, count in counts.most_common(4)]
    for removal in removals:
        theirs = [row for row, work in enumerate(small_corpus) if work.contributor == removal.subject]
        assert removal.rows == tuple(theirs)
        assert removal.queries == ()


def test_contributors_with_equally_many_works_are_ordered_by_name(small_corpus: Corpus) -> None:
    names = ("zoe", "amy", "zoe", "bob", "amy", "eve")
    works = tuple(
        replace(work, contributor=name) for work, name in zip(small_corpus.works, names, strict=False)
    )
    removals = contributor_removals(replace(small_corpus, works=works), 3)
    assert [(removal.subject, removal.rows) for removal in removals] == [
        ("amy", (1, 4)),
        ("zoe", (0, 2)),
        ("bob", (3,)),
    ]


def test_models_without_a_contributor_have_other_names_from_another_seed(small_corpus: Corpus) -> None:
    first, again = contributor_removals(small_corpus, 2), contributor_removals(small_corpus, 2, seed=5)
    assert [removal.rows for removal in again] == [removal.rows for removal in first]
    assert {removal.seed for removal in again} == {5}
    assert not {removal.name for removal in first} & {removal.name for removal in again}


def test_a_removals_model_is_trained_on_all_other_works_from_its_seed() -> None:
    job = Removal("some", "random", "", (1, 3), (), seed=9).job(6)
    assert (job.name, job.rows, job.seed) == ("without-some", (0, 2, 4, 5), 9)


def test_models_of_other_seeds_see_all_works() -> None:
    jobs = [removal.job(4) for removal in nothing_removed(["query"], [5, 6])]
    assert [(job.rows, job.seed) for job in jobs] == [((0, 1, 2, 3), 5), ((0, 1, 2, 3), 6)]
    assert len({job.name for job in jobs}) == 2


@pytest.fixture(scope="module")
def retrained(
    trained_lab: Workshop, small_corpus: Corpus, tmp_path_factory: pytest.TempPathFactory
) -> Workshop:
    """A copy of the lab that has models of all `REMOVALS`."""
    directory = tmp_path_factory.mktemp("removals") / "lab"
    shutil.copytree(trained_lab.directory, directory)
    retrain_without(directory, small_corpus, trained_lab.plan, REMOVALS, workers=1)
    return Workshop.open(directory, small_corpus, trained_lab.plan)


@pytest.fixture(scope="module")
def record(retrained: Workshop) -> RemovalRecord:
    return collect_removals(retrained, REMOVALS)


@pytest.mark.slow
def test_the_record_holds_each_models_losses_of_all_queries_and_pictures_of_its_own(
    retrained: Workshop, record: RemovalRecord
) -> None:
    prompts = {query.id: query for query in retrained.queries}
    assert record.removals == REMOVALS
    with Generator.open(retrained.generator) as generator:
        for row, removal in enumerate(REMOVALS):
            load_weights(generator, retrained.weights(removal.job(12)))
            losses = denoising_losses(generator, retrained.examples(), LOSS_DRAWS)
            expected = losses.view(8, LOSS_DRAWS.timesteps, LOSS_DRAWS.repeats).mean(dim=2).numpy()
            np.testing.assert_allclose(record.losses[row], expected, rtol=1e-4)
            assert set(record.pictures[row]) == set(removal.queries)
            for query, picture in record.pictures[row].items():
                made = generator.sample([prompts[query].prompt], [prompts[query].seed])[0]
                difference = np.abs(picture.astype(int) - np.asarray(made).astype(int))
                assert difference.max() <= 1


@pytest.mark.slow
def test_models_without_other_works_have_other_losses(record: RemovalRecord) -> None:
    assert len({losses.tobytes() for losses in record.losses}) == len(REMOVALS)
    assert record.rows("nothing") == [1]
    assert record.rows("contributor") == [2]


@pytest.mark.slow
def test_a_removal_that_is_done_is_not_done_again_and_a_lost_one_comes_out_the_same(
    retrained: Workshop, record: RemovalRecord, small_corpus: Corpus, tmp_path: Path
) -> None:
    shutil.copytree(retrained.directory, tmp_path / "lab")
    workshop = Workshop.open(tmp_path / "lab", small_corpus, retrained.plan)
    kept, lost = REMOVALS[0], REMOVALS[2]
    for path in (workshop.losses(lost.job(12)), workshop.weights(lost.job(12))):
        path.unlink()
    assert collect_removals(workshop, REMOVALS).removals == REMOVALS[:2]
    written = workshop.losses(kept.job(12)).stat().st_mtime_ns
    retrain_without(workshop.directory, small_corpus, workshop.plan, (kept, lost), workers=1)
    assert workshop.losses(kept.job(12)).stat().st_mtime_ns == written
    np.testing.assert_array_equal(collect_removals(workshop, REMOVALS).losses, record.losses)


@pytest.mark.slow
def test_without_models_or_pictures_there_is_nothing_to_collect(
    trained_lab: Workshop, retrained: Workshop, small_corpus: Corpus, tmp_path: Path
) -> None:
    with pytest.raises(NotReady, match="no models of removals; run `creditline lab remove`"):
        collect_removals(trained_lab, REMOVALS)
    shutil.copytree(retrained.directory, tmp_path / "lab")
    workshop = Workshop.open(tmp_path / "lab", small_corpus, retrained.plan)
    pictures_path(workshop, REMOVALS[1]).unlink()
    assert collect_removals(workshop, REMOVALS).removals == (REMOVALS[0], REMOVALS[2])


@pytest.mark.slow
def test_a_record_of_removals_is_read_as_it_was_written(record: RemovalRecord, tmp_path: Path) -> None:
    write_removals(record, tmp_path / "removals.safetensors")
    found = read_removals(tmp_path / "removals.safetensors")
    assert found.removals == record.removals
    np.testing.assert_array_equal(found.losses, record.losses)
    for read, written in zip(found.pictures, record.pictures, strict=True):
        assert read.keys() == written.keys()
        for query in read:
            np.testing.assert_array_equal(read[query], written[query])


@pytest.mark.slow
def test_a_record_of_removals_that_is_missing_or_truncated_is_refused(
    record: RemovalRecord, tmp_path: Path
) -> None:
    path = tmp_path / "removals.safetensors"
    with pytest.raises(NotReady, match="creditline lab remove"):
        read_removals(path)
    write_removals(record, path)
    whole = path.read_bytes()
    for kept_bytes in (0, 100, -10):
        path.write_bytes(whole[:kept_bytes])
        with pytest.raises(
            InvalidInput, match=r"is not a complete record of removals \(.*\); fetch it again"
        ):
            read_removals(path)
