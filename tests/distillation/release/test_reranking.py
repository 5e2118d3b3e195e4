"""A release gets gradient rows and their calibration, and refuses those of others."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from creditline.attribution.reranking.kernel import GradientKernel
from creditline.corpus.works import Corpus
from creditline.distillation.labels.label_set import HELD_OUT, LabelledQuery, LabelSet, png
from creditline.distillation.release.publication import copy_release
from creditline.distillation.release.reranking import RerankingInputs, add_reranking
from creditline.distillation.training.feature_store import FeatureStore
from creditline.errors import FingerprintMismatch
from creditline.generator.pipeline import Generator
from creditline.release import RERANKING, RERANKING_ROWS, Release, open_release

QUERIES = 12


@pytest.fixture
def inputs(
    small_release: Release, small_corpus: Corpus, random_generator: Generator, store: FeatureStore
) -> RerankingInputs:
    from creditline.release import write_manifest

    named = {**small_release.description, "generator_fingerprint": random_generator.fingerprint}
    release = write_manifest(small_release.directory, named)
    return RerankingInputs(release, small_corpus, random_generator, made_up_labels(release), store)


def made_up_labels(release: Release) -> LabelSet:
    """Pictures of one colour each, with random influence."""
    from PIL import Image

    rng = np.random.default_rng(0)
    pictures = [Image.new("RGB", (32, 32), tuple(rng.integers(0, 255, 3))) for _ in range(QUERIES)]
    queries = [
        LabelledQuery(picture, f"picture {row}", row, 2.5, HELD_OUT)
        for row, picture in enumerate(png(pictures))
    ]
    return LabelSet(
        tuple(queries),
        rng.random((QUERIES, release.works), dtype=np.float32),
        release.generator_fingerprint,
        release.corpus_name,
        release.corpus_fingerprint,
    )


def test_a_release_gets_rows_and_calibration_and_keeps_them_when_it_is_copied(
    inputs: RerankingInputs, random_generator: Generator
) -> None:
    directory = inputs.release.directory
    added, gain = add_reranking(inputs, directory.with_name("work"), candidates=20)
    again, _ = add_reranking(replace(inputs, release=added), directory.with_name("work"), candidates=20)
    copy = copy_release(added, directory.with_name("copy"))

    for release in (added, again, copy):
        release.verify_files()
        reranking = release.reranking()
        assert reranking is not None
        assert (reranking.candidates, reranking.rows) == (20, release.files[RERANKING_ROWS])
        kernel = GradientKernel.open(
            release.directory / RERANKING_ROWS,
            random_generator,
            release=release.name,
            corpus=release.corpus_fingerprint,
        )
        assert tuple(kernel.row_of) == release.work_ids()
    assert added.files == again.files
    assert 0.0 < gain.fast.mean() < 1.0
    assert 0.0 < gain.reranked.mean() < 1.0


def test_a_release_without_rows_has_no_calibration_of_re_ranked_answers(inputs: RerankingInputs) -> None:
    assert inputs.release.reranking() is None


def test_a_calibration_that_was_fitted_for_other_rows_is_refused(inputs: RerankingInputs) -> None:
    from creditline.release import write_manifest

    directory = inputs.release.directory
    added, _ = add_reranking(inputs, directory.with_name("work"), candidates=20)
    path = directory / RERANKING
    path.write_text(path.read_text().replace(added.files[RERANKING_ROWS], "0" * 64))
    write_manifest(directory, added.description)

    with pytest.raises(FingerprintMismatch, match=r"was fitted for rerank.safetensors 0000.+release rerank"):
        open_release(directory).reranking()


def test_labels_and_works_of_another_release_are_refused(inputs: RerankingInputs) -> None:
    other_labels = replace(inputs.labels, generator_fingerprint="f" * 64)
    fewer = inputs.corpus.subset(inputs.corpus.ids[1:], name="fewer")
    other = replace(inputs.release, generator_fingerprint="f" * 64)
    for wrong, message in (
        (replace(inputs, labels=other_labels), "labels were made for another generator"),
        (replace(inputs, corpus=fewer), "has not the works of release"),
        (replace(inputs, release=other), "was made for generator ffff"),
    ):
        with pytest.raises(FingerprintMismatch, match=message):
            add_reranking(wrong, inputs.release.directory.with_name("work"))
