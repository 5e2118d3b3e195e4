"""A run from existing labels, with the real towers, on a small corpus."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from creditline.corpus.works import Corpus, write_corpus
from creditline.distillation.labels.label_set import LabelSet, write_labels
from creditline.distillation.pipeline import Distillation
from creditline.distillation.release.verification import verify_release
from creditline.distillation.run_config import RunConfig
from creditline.errors import FingerprintMismatch, InvalidInput
from creditline.release import EVALUATION, Release, open_release
from creditline.towers.towers import Towers
from tests.distillation.label_sets import labels_of

_QUICK = {"epochs": 2, "hidden": 16, "layers": 1, "width": 16, "reduced": 0, "nested": []}


@pytest.fixture(scope="module")
def corpus_file(tmp_path_factory: pytest.TempPathFactory, small_corpus: Corpus) -> Path:
    path = tmp_path_factory.mktemp("corpus") / "corpus.parquet"
    write_corpus(small_corpus, path)
    return path


def distilled(labels: LabelSet, corpus_file: Path, directory: Path, *, seed: int = 0) -> Release:
    write_labels(labels, directory / "given")
    config = RunConfig(
        name="small", seed=seed, corpus=corpus_file, labels=(directory / "given",), training=_QUICK
    )
    return Distillation(config, directory / "run").run()


def test_labels_become_a_release_that_verifies(
    small_corpus: Corpus, corpus_file: Path, towers: Towers, tmp_path: Path
) -> None:
    release = distilled(labels_of(small_corpus), corpus_file, tmp_path)
    assert open_release(release.directory) == release
    assert (release.name, release.collection, release.works, release.dimension) == (
        "small",
        "works-small",
        40,
        16,
    )
    assert release.generator_fingerprint == "a" * 64
    assert f"{release.figures['ndcg100']:.4g}" in release.model_card()
    assert EVALUATION in release.files
    verified = verify_release(release, small_corpus, towers, sample=5, seed=1)
    assert verified.works == 5
    assert verified.lowest_cosine > 0.9999


@pytest.mark.heavy
def test_the_same_labels_and_seed_give_the_same_files(
    small_corpus: Corpus, corpus_file: Path, tmp_path: Path
) -> None:
    labels = labels_of(small_corpus)
    first, again, other = (
        distilled(labels, corpus_file, tmp_path / name, seed=seed).files
        for name, seed in (("first", 0), ("again", 0), ("other", 1))
    )
    unchanging = ("encoder.safetensors", "vectors.npy", "calibration.json", "work_ids.json")
    assert [first[name] for name in unchanging] == [again[name] for name in unchanging]
    assert first["encoder.safetensors"] != other["encoder.safetensors"]


def test_unusable_labels_are_refused_before_any_training(
    small_corpus: Corpus, corpus_file: Path, tmp_path: Path
) -> None:
    labels = labels_of(small_corpus)
    other = dataclasses.replace(labels, corpus_fingerprint="f" * 64)
    shared = dataclasses.replace(labels.queries[-1], prompt=labels.queries[0].prompt)
    overlapping = dataclasses.replace(labels, queries=(*labels.queries[:-1], shared))
    for name, wrong, error in (("o", other, FingerprintMismatch), ("s", overlapping, InvalidInput)):
        with pytest.raises(error):
            distilled(wrong, corpus_file, tmp_path / name)
        assert not (tmp_path / name / "run" / "training").exists()
