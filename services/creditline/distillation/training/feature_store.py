"""Tower features of works and queries, computed once and stored by content."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from creditline.build_lock import build_lock
from creditline.corpus.clip_features import ClipFeatures
from creditline.corpus.works import Corpus
from creditline.distillation.labels.label_set import LabelledQuery
from creditline.files import replace_file
from creditline.towers.precomputed import precomputed_features
from creditline.towers.towers import Towers

_ITEMS_PER_REPORT = 256


class FeatureStore:
    """A cache of joined features, keyed by the fingerprints of towers and content.

    Args:
        towers: The towers that embed pictures and texts.
        directory: Directory that later runs read the features from; None: in memory only.
        report: Receives progress messages.
        given: Precomputed features of the works, by the same towers; None: works are embedded.
    """

    def __init__(
        self,
        towers: Towers,
        directory: Path | None,
        report: Callable[[str], None],
        given: ClipFeatures | None = None,
    ) -> None:
        self.towers = towers
        self._given = given
        self._directory = directory
        self._report = report
        self._cache: dict[str, NDArray[np.float32]] = {}

    def works(self, corpus: Corpus) -> NDArray[np.float32]:
        """Joined features of works: (N, F) float32, row i of `corpus.works[i]`.

        Raises:
            InvalidInput: The precomputed features do not fit the towers or the corpus.
        """
        if self._given is not None:
            return precomputed_features(self._given, self.towers, corpus)
        return self._cached(
            corpus.fingerprint,
            lambda rows: [corpus.works[row].picture() for row in rows],
            [work.caption for work in corpus],
            what=f"works of {corpus.name}",
        )

    def queries(self, queries: Sequence[LabelledQuery]) -> NDArray[np.float32]:
        """Joined features of queries, in order: (Q, F) float32."""
        digest = hashlib.sha256()
        for query in queries:
            digest.update(
                hashlib.sha256(query.picture).digest() + hashlib.sha256(query.prompt.encode()).digest()
            )
        prompts = [query.prompt for query in queries]
        return self._cached(
            digest.hexdigest(), lambda rows: [queries[row].image() for row in rows], prompts, what="queries"
        )

    def _cached(
        self, content: str, pictures: Callable[[range], list[Image.Image]], texts: Sequence[str], *, what: str
    ) -> NDArray[np.float32]:
        key = hashlib.sha256(f"{self.towers.fingerprint} {content}".encode()).hexdigest()[:32]
        if key not in self._cache:
            self._cache[key] = self._read_or_compute(key, pictures, texts, what)
        return self._cache[key]

    def _read_or_compute(
        self, key: str, pictures: Callable[[range], list[Image.Image]], texts: Sequence[str], what: str
    ) -> NDArray[np.float32]:
        if self._directory is None:
            return self._compute(pictures, texts, what)
        path = self._directory / f"features-{key}.npy"
        if not path.is_file():
            with build_lock(path, on_wait=self._report):
                if not path.is_file():
                    features = self._compute(pictures, texts, what)
                    with replace_file(path) as draft:
                        np.save(draft, features)
        stored: NDArray[np.float32] = np.load(path)
        return stored

    def _compute(
        self, pictures: Callable[[range], list[Image.Image]], texts: Sequence[str], what: str
    ) -> NDArray[np.float32]:
        batches = []
        for start in range(0, len(texts), _ITEMS_PER_REPORT):
            rows = range(start, min(start + _ITEMS_PER_REPORT, len(texts)))
            batches.append(self.towers.features(pictures(rows), [texts[row] for row in rows]))
            self._report(f"tower features of {rows.stop}/{len(texts)} {what}")
        return np.concatenate(batches)
