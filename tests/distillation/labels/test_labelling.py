"""Queries are planned without overlap, labelled part by part, and give the same labels when resumed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from creditline.attribution.methods.similarity import PixelSimilarity
from creditline.attribution.unlearning.teacher import Query, encode_queries, prepare_teacher
from creditline.corpus.works import Corpus
from creditline.distillation.labels.label_set import HELD_OUT, TRAIN, read_labels
from creditline.distillation.labels.labelling import LabelJob, Shard, label_queries, label_shard, query_id
from creditline.distillation.labels.queries import PlannedQuery, plan_more, plan_queries
from creditline.distillation.labels.teachers import FirstOrder, MethodTeacher, query_gallery
from creditline.errors import FingerprintMismatch, InvalidInput
from creditline.generator.pipeline import Generator
from creditline.generator.reference import reference_corpus, reference_decoys


def test_planned_splits_share_no_prompt_no_seed_and_no_title() -> None:
    corpus = reference_corpus()
    planned = plan_queries(corpus, training=300, held_out=100, mixed_fraction=0.35, seed=1)
    by_split = {split: [query for query in planned if query.split == split] for split in (TRAIN, HELD_OUT)}
    assert (len(by_split[TRAIN]), len(by_split[HELD_OUT])) == (300, 100)
    assert len({query.prompt.casefold() for query in planned}) == 400
    assert len({query.seed for query in planned}) == 400
    captions = {work.caption for work in corpus}
    mixed = [query for query in planned if query.prompt not in captions]
    assert 80 < len(mixed) < 200


def test_the_same_seed_plans_the_same_queries_and_another_seed_others() -> None:
    corpus = reference_corpus()
    first, again, other = (
        plan_queries(corpus, training=20, held_out=5, mixed_fraction=0.35, seed=seed) for seed in (1, 1, 2)
    )
    assert first == again
    assert [query.prompt for query in first] != [query.prompt for query in other]


def test_a_corpus_too_small_for_the_plan_is_refused(small_corpus: Corpus) -> None:
    with pytest.raises(InvalidInput, match="need 54 works"):
        plan_queries(small_corpus, training=30, held_out=10, mixed_fraction=0.3, seed=1)


def test_more_queries_from_a_small_corpus_spare_the_prompts_that_others_are_judged_by(
    small_corpus: Corpus,
) -> None:
    excluded = [work.caption.upper() for work in small_corpus.works[:3]]
    planned = plan_more(
        small_corpus, count=90, mixed_fraction=0.4, guidances=(2.5, 4.0), excluded=excluded, seed=3
    )
    prompts = {query.prompt.casefold() for query in planned}
    assert len(planned) == len({query.seed for query in planned}) == 90
    assert not prompts & {prompt.casefold() for prompt in excluded}
    assert {work.caption.casefold() for work in small_corpus.works[3:]} <= prompts
    assert [query.guidance for query in planned[:3]] == [2.5, 4.0, 2.5]


def test_when_every_prompt_is_spared_nothing_is_planned(small_corpus: Corpus) -> None:
    with pytest.raises(InvalidInput, match="spare fewer"):
        plan_more(
            small_corpus,
            count=3,
            mixed_fraction=0.0,
            guidances=(2.5,),
            excluded=[work.caption for work in small_corpus],
            seed=3,
        )


def test_any_method_labels_too(random_generator: Generator, small_corpus: Corpus, tmp_path: Path) -> None:
    corpus = small_corpus.subset(small_corpus.ids[:6], name="six")
    works = query_gallery(random_generator, [Query(work.id, work.picture(), work.caption) for work in corpus])
    teacher = MethodTeacher(PixelSimilarity(), random_generator, works, tmp_path / "artifacts")
    planned = tuple(PlannedQuery("a star", seed, TRAIN, guidance) for seed, guidance in ((1, 2.5), (2, 5.0)))
    labels = label_queries(
        LabelJob(teacher, corpus, corpus.subset([], name="none"), planned), tmp_path / "labels", print
    )
    assert labels.decoy_influence is None
    assert labels.influence_repeat is None
    for query, row in zip(labels.queries, labels.influence, strict=True):
        again = PixelSimilarity()
        again.prepare(works, tmp_path)
        asked = query_gallery(random_generator, [Query("q", query.image(), query.prompt)])
        np.testing.assert_allclose(row, again.scores(asked)[0], rtol=1e-5)
    assert [query.guidance for query in labels.queries] == [2.5, 5.0]
    assert labels.queries[0].picture != labels.queries[1].picture


@pytest.fixture(scope="module")
def job(
    random_generator: Generator, small_corpus: Corpus, tmp_path_factory: pytest.TempPathFactory
) -> LabelJob:
    corpus = small_corpus.subset(small_corpus.ids[:12], name="twelve")
    decoys = reference_decoys()
    teacher = FirstOrder(
        prepare_teacher(random_generator, corpus, tmp_path_factory.mktemp("artifacts"), print)
    )
    planned = tuple(
        PlannedQuery(f"a picture, number {index}", 50 + index, HELD_OUT if index == 2 else TRAIN)
        for index in range(3)
    )
    return LabelJob(teacher, corpus, decoys.subset(decoys.ids[:4], name="four decoys"), planned)


def test_labels_are_the_teachers_first_order_influence(job: LabelJob, tmp_path: Path) -> None:
    labels = label_queries(job, tmp_path, print)
    assert labels.influence.shape == (3, 12)
    assert labels.decoy_influence is not None
    assert labels.decoy_influence.shape == (3, 4)
    query = Query(query_id(job.planned[1]), labels.queries[1].image(), job.planned[1].prompt)
    assert isinstance(job.teacher, FirstOrder)
    expected = job.teacher.teacher.first_order(encode_queries(job.generator, [query]))[0]
    np.testing.assert_allclose(labels.influence[1], expected, rtol=1e-3, atol=np.abs(expected).max() * 1e-3)
    assert labels.influence_repeat is not None
    assert not np.allclose(labels.influence_repeat[0], labels.influence[2])


def test_a_resumed_labelling_gives_the_same_labels_and_does_not_start_over(
    job: LabelJob, tmp_path: Path
) -> None:
    job = replace(job, queries_per_part=2)
    whole = label_queries(job, tmp_path / "whole", print)
    label_queries(job, tmp_path / "resumed", print)
    parts = tmp_path / "resumed" / "parts"
    (parts / "000002.npz").unlink()
    first_part = (parts / "000000.npz").stat().st_mtime_ns
    resumed = label_queries(job, tmp_path / "resumed", print)
    assert (parts / "000000.npz").stat().st_mtime_ns == first_part
    np.testing.assert_allclose(whole.influence, resumed.influence)
    np.testing.assert_array_equal(read_labels(tmp_path / "resumed").influence, resumed.influence)


def test_labels_of_another_plan_are_refused(job: LabelJob, tmp_path: Path) -> None:
    label_queries(job, tmp_path, print)
    other = LabelJob(job.teacher, job.corpus, job.decoys, job.planned[:2])
    with pytest.raises(FingerprintMismatch, match="another plan"):
        label_queries(other, tmp_path, print)


def test_shards_label_what_one_process_would(job: LabelJob, tmp_path: Path) -> None:
    job = replace(job, queries_per_part=1)
    whole = label_queries(job, tmp_path / "whole", print)
    parts = tmp_path / "shards" / "parts"
    label_shard(job, tmp_path / "shards", Shard.parse("2/2"), print)
    assert sorted(path.name for path in parts.glob("*.npz")) == ["000001.npz"]
    label_shard(job, tmp_path / "shards", Shard.parse("1/2"), print)
    assert len(list(parts.glob("*.npz"))) == 3
    written = {path.name: path.stat().st_mtime_ns for path in parts.glob("*.npz")}
    joined = label_queries(job, tmp_path / "shards", print)
    assert {path.name: path.stat().st_mtime_ns for path in parts.glob("*.npz")} == written
    np.testing.assert_allclose(joined.influence, whole.influence)


@pytest.mark.parametrize("text", ["", "1", "0/2", "3/2", "1/0", "a/b", "-1/2"])
def test_a_shard_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="shard") as refused:
        Shard.parse(text)
    assert refused.value.field == "shard"
