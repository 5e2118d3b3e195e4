"""From labels to a release and back: with the real towers, on a small corpus."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from creditline.corpus.works import Corpus
from creditline.distillation.labels.label_set import LabelSet
from creditline.distillation.release.building import build_release, refuse_other_generator, refuse_unusable
from creditline.distillation.release.verification import verify_release
from creditline.distillation.training.feature_store import FeatureStore
from creditline.distillation.training.fitting import TrainingPlan
from creditline.errors import FingerprintMismatch, InvalidInput
from creditline.release import CALIBRATION, Release, open_release
from creditline.towers.towers import Towers
from tests.distillation.label_sets import queries

QUICK = TrainingPlan(epochs=2, hidden=16, layers=1, width=16)


def labels_of(corpus: Corpus) -> LabelSet:
    influence = np.random.default_rng(0).normal(size=(16, len(corpus))).astype(np.float32)
    return LabelSet(queries(10, 6), influence, "a" * 64, corpus.name, corpus.fingerprint)


def test_labels_become_a_release_that_verifies(
    small_corpus: Corpus, store: FeatureStore, towers: Towers, tmp_path: Path
) -> None:
    built = build_release(
        labels_of(small_corpus), small_corpus, None, store, tmp_path, name="small", seed=0, plans=[QUICK]
    )
    release = open_release(tmp_path)
    assert release == built.release
    assert (release.name, release.collection, release.works, release.width) == (
        "small",
        "works-small",
        40,
        16,
    )
    assert release.generator_fingerprint == "a" * 64
    assert set(release.figures) == set(built.assessment.figures)
    assert f"{release.figures['ndcg100']:.4g}" in release.model_card()
    verified = verify_release(release, small_corpus, towers, sample=5, seed=1)
    assert verified.works == 5
    assert verified.lowest_cosine > 0.9999


def test_the_same_labels_and_seed_give_the_same_files(
    small_corpus: Corpus, store: FeatureStore, tmp_path: Path
) -> None:
    labels = labels_of(small_corpus)
    first, again, other = (
        build_release(
            labels, small_corpus, None, store, tmp_path / name, name="small", seed=seed, plans=[QUICK]
        ).release.files
        for name, seed in (("first", 0), ("again", 0), ("other", 1))
    )
    unchanging = ("encoder.safetensors", "vectors.npy", "calibration.json", "work_ids.json")
    assert [first[name] for name in unchanging] == [again[name] for name in unchanging]
    assert first["encoder.safetensors"] != other["encoder.safetensors"]


def test_labels_of_another_corpus_or_with_shared_prompts_are_refused(
    small_corpus: Corpus, store: FeatureStore, tmp_path: Path
) -> None:
    labels = labels_of(small_corpus)
    other = dataclasses.replace(labels, corpus_fingerprint="f" * 64)
    shared = dataclasses.replace(labels.queries[-1], prompt=labels.queries[0].prompt)
    overlapping = dataclasses.replace(labels, queries=(*labels.queries[:-1], shared))
    for wrong, error in ((other, FingerprintMismatch), (overlapping, InvalidInput)):
        with pytest.raises(error):
            build_release(wrong, small_corpus, None, store, tmp_path, name="small", seed=0, plans=[QUICK])


def test_a_query_whose_labels_are_all_equal_is_refused(small_corpus: Corpus) -> None:
    labels = labels_of(small_corpus)
    influence = labels.influence.copy()
    influence[3] = 0.25
    with pytest.raises(InvalidInput, match=r"all labels of 1 queries are equal, e.g. of 'a picture of 3'"):
        refuse_unusable(dataclasses.replace(labels, influence=influence), small_corpus)


def test_a_query_whose_candidates_have_equal_labels_is_refused(small_corpus: Corpus) -> None:
    labels = labels_of(small_corpus)
    influence, inclusion = labels.influence.copy(), np.ones_like(labels.influence)
    inclusion[2, 4:] = 0.0
    influence[2, :4] = 1.0
    some = dataclasses.replace(labels, influence=influence, inclusion=inclusion)
    with pytest.raises(InvalidInput, match="all labels of 1 queries are equal"):
        refuse_unusable(some, small_corpus)


def test_a_query_that_judges_must_have_every_label(small_corpus: Corpus) -> None:
    labels = labels_of(small_corpus)
    inclusion = np.ones_like(labels.influence)
    inclusion[-1, 0] = 0.5
    with pytest.raises(InvalidInput, match="label every work for those"):
        refuse_unusable(dataclasses.replace(labels, inclusion=inclusion), small_corpus)


def test_labels_of_another_generator_are_refused_with_both_fingerprints(small_corpus: Corpus) -> None:
    with pytest.raises(
        FingerprintMismatch, match=r"by generator aaaaaaaaaaaaaaaa…, not by\s+bbbbbbbbbbbbbbbb…"
    ):
        refuse_other_generator(labels_of(small_corpus), "b" * 64)
    refuse_other_generator(labels_of(small_corpus), "a" * 64)


def test_a_release_without_its_calibration_is_refused(
    small_release: Release, small_corpus: Corpus, towers: Towers
) -> None:
    (small_release.directory / CALIBRATION).unlink()
    with pytest.raises(FingerprintMismatch, match=r"calibration.json .*SHA-256 nothing"):
        verify_release(small_release, small_corpus, towers, sample=5, seed=0)


def test_a_vector_that_does_not_come_out_of_the_encoder_is_found(
    small_release: Release, small_corpus: Corpus, towers: Towers
) -> None:
    from creditline.release import VECTORS, write_manifest

    stored = np.load(small_release.directory / VECTORS)
    np.save(small_release.directory / VECTORS, stored[::-1].copy())
    forged = write_manifest(small_release.directory, small_release.description)
    with pytest.raises(FingerprintMismatch, match="encodes to a vector"):
        verify_release(forged, small_corpus, towers, sample=5, seed=0)


def test_features_are_computed_once_and_kept(small_corpus: Corpus, towers: Towers, tmp_path: Path) -> None:
    few = Corpus("few", small_corpus.works[:4])
    said: list[str] = []
    first = FeatureStore(towers, tmp_path, said.append).works(few)
    lines = len(said)
    again = FeatureStore(towers, tmp_path, said.append).works(few)
    assert lines == len(said) == 1
    assert np.array_equal(first, again)
    assert FeatureStore(towers, tmp_path, said.append).queries(queries(2, 0)).shape == (2, towers.parts.width)
