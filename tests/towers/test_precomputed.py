"""A student of precomputed features equals the one trained on the pictures themselves."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from creditline.corpus.clip_features import ClipFeatures
from creditline.corpus.works import Corpus
from creditline.distillation.labels.label_set import write_labels
from creditline.distillation.pipeline import Distillation
from creditline.distillation.release.verification import verify_release
from creditline.distillation.run_config import read_config
from creditline.distillation.training.feature_store import FeatureStore
from creditline.errors import InvalidInput
from creditline.release import EVALUATION
from creditline.towers.precomputed import precomputed_features
from creditline.towers.spec import TowerSpec
from creditline.towers.towers import Towers
from tests.corpus.clip_parts import write_clip_parts
from tests.distillation.label_sets import label_set
from tests.distillation.small_towers import write_small_clip


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_small_clip(tmp_path_factory.mktemp("clip"))


@pytest.fixture(scope="module")
def towers(clip: Path) -> Towers:
    return Towers.open(TowerSpec(str(clip), layout=False))


@pytest.fixture
def written(towers: Towers, small_corpus: Corpus, tmp_path: Path) -> Path:
    """As the very towers give them, raw, in half precision."""
    images = towers.image_features([work.picture() for work in small_corpus]).numpy()
    texts = towers.text_features([work.caption for work in small_corpus]).numpy()
    return write_clip_parts(tmp_path / "features", small_corpus.works, images, texts)


def test_precomputed_features_are_those_of_the_pictures_and_captions(
    written: Path, towers: Towers, small_corpus: Corpus
) -> None:
    computed = FeatureStore(towers, None, lambda line: None).works(small_corpus)
    given = ClipFeatures.open(written)
    found = FeatureStore(towers, None, lambda line: None, given).works(small_corpus)
    np.testing.assert_allclose(found, computed, atol=2e-3)


def test_captions_without_stored_features_are_embedded(
    written: Path, towers: Towers, small_corpus: Corpus
) -> None:
    for path in written.glob("text_emb/*.npy"):
        path.unlink()
    computed = FeatureStore(towers, None, lambda line: None).works(small_corpus)
    found = precomputed_features(ClipFeatures.open(written), towers, small_corpus)
    np.testing.assert_allclose(found, computed, atol=2e-3)


def test_a_layout_without_pictures_is_refused(written: Path, clip: Path, small_corpus: Corpus) -> None:
    with pytest.raises(InvalidInput, match="no-layout"):
        precomputed_features(ClipFeatures.open(written), Towers.open(TowerSpec(str(clip))), small_corpus)


def test_features_of_other_towers_or_works_are_refused(
    written: Path, towers: Towers, small_corpus: Corpus, tmp_path: Path
) -> None:
    fewer = small_corpus.subset(small_corpus.ids[:5], name="five")
    with pytest.raises(InvalidInput, match=r"pictures have shape \(\d+, 32\), 5 works"):
        precomputed_features(ClipFeatures.open(written), towers, fewer)
    works = small_corpus.works
    wide = write_clip_parts(tmp_path / "wide", works, np.ones((len(works), 512)))
    with pytest.raises(InvalidInput, match=r"shape \(\d+, 512\)"):
        precomputed_features(ClipFeatures.open(wide), towers, small_corpus)


def test_a_release_is_made_and_verified_without_any_picture_of_a_work(
    written: Path, clip: Path, tmp_path: Path
) -> None:
    corpus = ClipFeatures.open(written).corpus("laion-like")
    labels = label_set(train=40, held_out=20, works=len(corpus), decoys=0)
    write_labels(
        dataclasses.replace(labels, corpus_fingerprint=corpus.fingerprint, decoy_influence=None),
        tmp_path / "labels",
    )
    content = {
        "name": "laion-like",
        "towers": f"{clip}+no-layout",
        "work_features": str(written),
        "labels": str(tmp_path / "labels"),
        "training": {"epochs": 2, "hidden": 16, "layers": 1, "reduced": 0, "width": 16, "nested": []},
    }
    (tmp_path / "run.yaml").write_text(json.dumps(content))
    release = Distillation(read_config(tmp_path / "run.yaml"), tmp_path / "run").run()
    assert (release.works, release.corpus_fingerprint) == (len(corpus), corpus.fingerprint)
    assert "ndcg100" in json.loads((release.directory / EVALUATION).read_text())
    towers = Towers.open(TowerSpec(str(clip), layout=False))
    given = ClipFeatures.open(written)
    assert verify_release(release, corpus, towers, sample=9, seed=0, given=given).lowest_cosine > 0.9999
