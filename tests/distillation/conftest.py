"""Features of the real towers, and a real small release made with them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from creditline.corpus.works import Corpus
    from creditline.distillation.training.feature_store import FeatureStore
    from creditline.release import Release
    from creditline.towers.towers import Towers


@pytest.fixture(scope="session")
def store(towers: Towers, tmp_path_factory: pytest.TempPathFactory) -> FeatureStore:
    from creditline.distillation.training.feature_store import FeatureStore

    return FeatureStore(towers, tmp_path_factory.mktemp("features"), lambda line: None)


@pytest.fixture
def small_release(small_corpus: Corpus, store: FeatureStore, tmp_path: Path) -> Release:
    from creditline.distillation.release.development import write_development_release

    return write_development_release(tmp_path / "release", small_corpus, store, width=16)
