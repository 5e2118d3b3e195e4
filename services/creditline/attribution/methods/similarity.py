"""Attributors that know no generator: chance, likeness of pixels, likeness of any features."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from creditline.attribution.attributor import Attributor, Gallery
from creditline.errors import InvalidInput, NotReady
from creditline.pictures.preparation import pixels

# A gallery's rows of features: (N, D) float32.
Features = Callable[[Gallery], NDArray[np.float32]]

_PIXEL_SIDE = 32


class RandomScores(Attributor):
    """Chance: uniform in [0, 1), drawn from the seed and both ids. Every measure must find nothing in it."""

    name = "random"

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._work_ids: tuple[str, ...] | None = None

    def prepare(self, works: Gallery, directory: Path) -> None:
        """Only remembers the works' ids."""
        self._work_ids = works.examples.ids

    def scores(self, queries: Gallery) -> NDArray[np.float64]:
        """(Q, N). Raises NotReady before `prepare`."""
        if self._work_ids is None:
            raise _not_prepared(self.name)
        return np.array(
            [[self._draw(query, work) for work in self._work_ids] for query in queries.examples.ids]
        )

    def _draw(self, query: str, work: str) -> float:
        digest = hashlib.sha256(f"{self._seed}\0{query}\0{work}".encode()).digest()
        return (int.from_bytes(digest[:8], "big") >> 11) / 2.0**53


class FeatureSimilarity(Attributor):
    """Cosine between a query's features and each work's; 0 where either has none but zeros."""

    def __init__(self, name: str, features: Features) -> None:
        self.name = name
        self._features = features
        self._works: NDArray[np.float32] | None = None

    def prepare(self, works: Gallery, directory: Path) -> None:
        """Keeps the works' features in memory. Raises InvalidInput when they are no row for each work."""
        self._works = self._unit_rows(works)
        self.bytes_per_work = float(self._works.shape[1] * self._works.itemsize)

    def scores(self, queries: Gallery) -> NDArray[np.float64]:
        """(Q, N). Raises NotReady before `prepare`, InvalidInput for features of another width."""
        if self._works is None:
            raise _not_prepared(self.name)
        rows = self._unit_rows(queries)
        if rows.shape[1] != self._works.shape[1]:
            raise InvalidInput(
                f"{self.name} gave {rows.shape[1]} features for queries but {self._works.shape[1]} for works;"
                " take both from the same model"
            )
        # Query by query: a product of all at once rounds differently with their number.
        return np.array([self._works @ row for row in rows], dtype=np.float64)

    def _unit_rows(self, gallery: Gallery) -> NDArray[np.float32]:
        features = np.asarray(self._features(gallery), dtype=np.float32)
        if features.ndim != 2 or len(features) != len(gallery):
            raise InvalidInput(
                f"{self.name} gave features of shape {features.shape} for {len(gallery)} pictures;"
                " give one row for each"
            )
        return _normalised(features)


class PixelSimilarity(FeatureSimilarity):
    """Correlation of two pictures' pixels: the cosine after each picture's own mean is taken off.

    side: to which both are resized, pixels. A picture of one colour is like none.
    """

    def __init__(self, side: int = _PIXEL_SIDE) -> None:
        if side < 1:
            raise InvalidInput(
                f"pictures of {side} pixels have none to compare; ask for 1 or more", field="side"
            )
        super().__init__("pixels", lambda gallery: centred_pixels(gallery, side=side))


def centred_pixels(gallery: Gallery, *, side: int) -> NDArray[np.float32]:
    """Each picture's RGB pixels less their mean: (N, 3 · side²) float32."""
    rows = np.array([pixels(picture, side=side).ravel() for picture in gallery.pictures])
    means = rows.mean(axis=1, keepdims=True, dtype=np.float64).astype(np.float32)
    centred: NDArray[np.float32] = rows - means
    return centred


def _normalised(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.divide(rows, lengths, out=np.zeros_like(rows), where=lengths != 0)


def _not_prepared(name: str) -> NotReady:
    return NotReady(f"{name} has seen no works yet; call prepare(works, directory) before scores(queries)")
