"""Baselines that need no generator: random scores, pixel similarity and feature similarity."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from creditline.attribution.attributor import Attributor, Gallery
from creditline.corpus.directions import unit_rows
from creditline.errors import InvalidInput, NotReady
from creditline.pictures.preparation import pixels

# Features of a gallery: (N, D) float32.
Features = Callable[[Gallery], NDArray[np.float32]]

_PIXEL_SIDE = 32


class RandomScores(Attributor):
    """Random baseline: uniform scores in [0, 1), a function of the seed and of both ids.

    Args:
        seed: Seed of the scores.
    """

    name = "random"

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._work_ids: tuple[str, ...] | None = None

    def prepare(self, works: Gallery, directory: Path) -> None:
        """Keep the works' ids; nothing is stored."""
        self._work_ids = works.examples.ids

    def scores(self, queries: Gallery) -> NDArray[np.float64]:
        """Random score of every work for every query: (Q, N) float64. Raises NotReady before `prepare`."""
        if self._work_ids is None:
            raise _not_prepared(self.name)
        return np.array(
            [[self._draw(query, work) for work in self._work_ids] for query in queries.examples.ids]
        )

    def _draw(self, query: str, work: str) -> float:
        digest = hashlib.sha256(f"{self._seed}\0{query}\0{work}".encode()).digest()
        return (int.from_bytes(digest[:8], "big") >> 11) / 2.0**53


class FeatureSimilarity(Attributor):
    """Cosine similarity of the query's and the work's features; 0 when either vector is zero.

    Args:
        name: Name of the method.
        features: Function that computes the features of a gallery.
    """

    def __init__(self, name: str, features: Features) -> None:
        self.name = name
        self._features = features
        self._works: NDArray[np.float32] | None = None

    def prepare(self, works: Gallery, directory: Path) -> None:
        """Compute the works' features and keep them in memory.

        Args:
            works: The works to score.
            directory: Not used.

        Raises:
            InvalidInput: The features are not a matrix with one row per work, or not finite.
        """
        self._works = self._unit_rows(works)
        self.bytes_per_work = float(self._works.shape[1] * self._works.itemsize)

    def scores(self, queries: Gallery) -> NDArray[np.float64]:
        """Cosine of every query with every work: (Q, N) float64.

        Raises:
            NotReady: `prepare` was not called.
            InvalidInput: The features of queries and works have different dimensions.
        """
        if self._works is None:
            raise _not_prepared(self.name)
        rows = self._unit_rows(queries)
        if rows.shape[1] != self._works.shape[1]:
            raise InvalidInput(
                f"{self.name} gave {rows.shape[1]} features for queries but {self._works.shape[1]} for works;"
                " compute both with the same model"
            )
        # One query at a time: the rounding of a matrix product depends on the number of its rows.
        return np.array([self._works @ row for row in rows], dtype=np.float64)

    def _unit_rows(self, gallery: Gallery) -> NDArray[np.float32]:
        features = np.asarray(self._features(gallery), dtype=np.float32)
        if features.ndim != 2 or len(features) != len(gallery):
            raise InvalidInput(
                f"{self.name} gave features of shape {features.shape} for {len(gallery)} pictures;"
                " return one row per picture"
            )
        not_finite = np.flatnonzero(~np.isfinite(features).all(axis=1))
        if len(not_finite):
            raise InvalidInput(
                f"{self.name} gave features of {gallery.examples.ids[not_finite[0]]!r} that are NaN or"
                " infinite; check that picture, and the model of the features for NaN"
            )
        return unit_rows(features)


class PixelSimilarity(FeatureSimilarity):
    """Correlation of two pictures' pixels: the cosine after each picture's mean is subtracted.

    A picture of a single colour has similarity 0 with every picture.

    Args:
        side: Side in pixels to which both pictures are resized.

    Raises:
        InvalidInput: `side` is below 1.
    """

    def __init__(self, side: int = _PIXEL_SIDE) -> None:
        if side < 1:
            raise InvalidInput(
                f"pictures cannot be resized to a side of {side} pixels; give 1 or more", field="side"
            )
        super().__init__("pixels", lambda gallery: centred_pixels(gallery, side=side))


def centred_pixels(gallery: Gallery, *, side: int) -> NDArray[np.float32]:
    """RGB pixels of each picture after subtraction of their mean.

    Args:
        gallery: The pictures, N of them.
        side: Side in pixels to which the pictures are resized.

    Returns:
        Centred pixels: (N, 3 · side²) float32.
    """
    rows = np.array([pixels(picture, side=side).ravel() for picture in gallery.pictures])
    means = rows.mean(axis=1, keepdims=True, dtype=np.float64).astype(np.float32)
    centred: NDArray[np.float32] = rows - means
    return centred


def _not_prepared(name: str) -> NotReady:
    return NotReady(f"{name} is not prepared; call prepare(works, directory) before scores(queries)")
