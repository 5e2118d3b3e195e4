"""The feature store computes features once and stores them by content."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from creditline.corpus.works import Corpus
from creditline.distillation.training.feature_store import FeatureStore
from creditline.towers.towers import Towers
from tests.distillation.label_sets import queries


def test_features_are_computed_once_and_kept(small_corpus: Corpus, towers: Towers, tmp_path: Path) -> None:
    few = Corpus("few", small_corpus.works[:4])
    said: list[str] = []
    first = FeatureStore(towers, tmp_path, said.append).works(few)
    lines = len(said)
    again = FeatureStore(towers, tmp_path, said.append).works(few)
    assert lines == len(said) == 1
    assert np.array_equal(first, again)
    assert FeatureStore(towers, tmp_path, said.append).queries(queries(2, 0)).shape == (2, towers.parts.width)
