"""Comparison of a batch of rows with the collection: which works are written, kept or refused."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from creditline.corpus.sources import SOURCE_FILE, Found
from creditline.corpus.works import Work
from creditline.index.ingest.checkpoint import Broken
from creditline.index.ingest.stored_works import Standing, StoredWorks
from creditline.retries import RetryPolicy

# Cosines of equal vectors stay above this after float16 rounding.
_SAME_VECTOR_COSINE = 0.999


@dataclass(frozen=True, eq=False)
class Compared:
    """Rows of one batch by what becomes of them."""

    to_write: list[Found] = field(default_factory=list)
    """Rows whose works are to be written."""
    new: set[str] = field(default_factory=set)
    """Ids of those works that the collection does not hold."""
    kept: list[Work] = field(default_factory=list)
    """Works that the collection holds already."""
    broken: list[Broken] = field(default_factory=list)
    """Rows without a work."""
    refused: list[Broken] = field(default_factory=list)
    """Rows whose ids belong to other works."""
    trained_on: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Fingerprints, as the collection holds them, of the generators trained on an added work, by its id."""


@dataclass(frozen=True)
class Comparison:
    """How rows are compared with a collection."""

    stored: StoredWorks
    """The works that the collection holds, or soon will."""
    is_withdrawn: Callable[[Work], bool]
    """Whether a work is withdrawn."""
    keeps: bool
    """Whether works that the collection holds already are kept without being embedded."""
    overwrite: bool
    """Whether a work replaces another one under its id."""
    with_vectors: bool
    """Whether vectors are compared too, which the rows must hold then."""
    retries: RetryPolicy
    """Policy while Qdrant is unavailable or too slow."""
    rng: random.Random
    """Random generator of the retry jitter."""

    def compare(self, rows: Sequence[Found]) -> Compared:
        """Compare the rows of the next batch. Raises CreditlineError if Qdrant does not answer in time."""
        pairs = [(found, found.work) for found in rows if found.work is not None]
        compared = Compared(broken=[_without_work(found) for found in rows if found.work is None])
        for (found, work), standing in zip(pairs, self._standings(pairs), strict=True):
            if standing is Standing.OTHER and not self.overwrite:
                compared.refused.append(Broken(found.part, found.row, _collision(work)))
            elif standing is Standing.SAME and self.keeps:
                compared.kept.append(work)
            else:
                compared.to_write.append(found)
            if standing is Standing.ABSENT:
                compared.new.add(work.id)
            if trained_on := self.stored.trained_on(work.id):
                compared.trained_on[work.id] = trained_on
        return compared

    def _standings(self, pairs: Sequence[tuple[Found, Work]]) -> list[Standing]:
        """What the collection holds under the id of each work; with a changed work as an older one."""
        works = [work for _, work in pairs]
        self.stored.read(works, self.retries, self.rng, with_vectors=self.with_vectors)
        return [
            Standing.OLDER if standing is Standing.SAME and self._has_changed(found, work) else standing
            for (found, work), standing in zip(pairs, self.stored.standings(works), strict=True)
        ]

    def _has_changed(self, found: Found, work: Work) -> bool:
        """Whether a work has been withdrawn, or its vector replaced, since the collection stored it."""
        if self.stored.is_withdrawn(work.id) not in (None, self.is_withdrawn(work)):
            return True
        before, now = self.stored.vector(work.id), found.image_features
        if before is None or now is None or before.shape != now.shape:
            return False
        return not float(before @ now) > _SAME_VECTOR_COSINE * float(np.linalg.norm(now))


def _without_work(found: Found) -> Broken:
    return Broken(found.part, found.row, found.broken)


def _collision(work: Work) -> str:
    return (
        f"the collection holds another work under the id {work.id!r}; name the ids of this source with"
        f' {{"ids": "NAME"}} in {SOURCE_FILE}, or write over the other work with --replace'
    )
