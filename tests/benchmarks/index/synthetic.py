"""Any number of works with vectors like those of the reference release, and queries held out from them.

A vector is a blend of two works of the release and of noise with the release's own spectrum, so that
clusters, their overlap and the slow decay of directions are the real ones. Chunks are seeded by their
number: the same works come out whatever part of them is asked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from creditline.corpus.openclipart import embedded_corpus
from creditline.corpus.works import Corpus
from creditline.index import WorkPoint
from creditline.release import open_release, reference_release_directory

CHUNK = 10_000
_LEAST_WEIGHT = 0.55
_NOISE = 0.5
_QUERIES_CHUNK = 1_000_000_007
# 2020-01-01 and ten years, in seconds.
_FIRST_SECOND, _SECONDS = 1_577_836_800, 315_360_000


@dataclass(frozen=True, eq=False)
class SyntheticCorpus:
    """Works 0 … `count` - 1. Contributors, licences and captions are the reference corpus's."""

    count: int
    seed: int = 0

    @cached_property
    def _release(self) -> NDArray[np.float32]:
        return open_release(reference_release_directory()).vectors()

    @cached_property
    def _corpus(self) -> Corpus:
        return embedded_corpus()

    @cached_property
    def _spectrum(self) -> NDArray[np.float32]:
        """(D, D): turns white noise into noise with the release's covariance, of mean length 1."""
        centred = self._release - self._release.mean(axis=0)
        covariance = centred.T @ centred / len(centred)
        values, directions = np.linalg.eigh(covariance)
        scale = np.sqrt(np.maximum(values, 0.0) / values.sum())
        return (directions * scale).T.astype(np.float32)

    @property
    def width(self) -> int:
        return int(self._release.shape[1])

    def vectors(self, start: int = 0, stop: int | None = None) -> NDArray[np.float32]:
        """Rows `start` … `stop` - 1, of length 1; both multiples of CHUNK, or the end."""
        stop = self.count if stop is None else stop
        rows = [self._chunk(first // CHUNK, min(CHUNK, stop - first)) for first in range(start, stop, CHUNK)]
        return np.concatenate(rows)

    def queries(self, count: int) -> NDArray[np.float32]:
        """Vectors that no work has: (count, D), of length 1."""
        return self._chunk(_QUERIES_CHUNK, count)

    def _chunk(self, number: int, count: int) -> NDArray[np.float32]:
        generator = np.random.default_rng((self.seed, number))
        pairs = generator.integers(0, len(self._release), size=(CHUNK, 2))
        weights = generator.uniform(_LEAST_WEIGHT, 1.0, size=(CHUNK, 1)).astype(np.float32)
        noise = generator.standard_normal((CHUNK, self.width), dtype=np.float32) @ self._spectrum
        blend = weights * self._release[pairs[:, 0]] + (1.0 - weights) * self._release[pairs[:, 1]]
        rows = (blend + _NOISE * noise)[:count]
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    def points(self, start: int = 0, stop: int | None = None) -> Iterator[WorkPoint]:
        """Works `start` … `stop` - 1 as they are indexed, about half of them before 2025."""
        stop = self.count if stop is None else stop
        for first in range(start, stop, CHUNK):
            last = min(first + CHUNK, stop)
            for number, vector in enumerate(self.vectors(first, last), start=first):
                yield self.point(number, vector)

    def work_id(self, number: int) -> str:
        """E.g. oca-animals-cow-1234."""
        return f"{self._corpus.works[number % len(self._corpus)].id}-{number}"

    @staticmethod
    def created(number: int) -> int:
        """When the work was made, in seconds since 1970."""
        return _FIRST_SECOND + (number * 7_919) % _SECONDS

    def point(self, number: int, vector: NDArray[np.float32]) -> WorkPoint:
        """One work."""
        like = self._corpus.works[number % len(self._corpus)]
        return WorkPoint(
            work_id=self.work_id(number),
            vector=vector,
            contributor=f"{like.contributor} {number % 97}",
            title=like.title,
            caption=like.caption,
            licence=like.licence,
            source=like.source,
            duplicate_group=f"{like.id}-{number}",
            created=self.created(number),
        )
