"""Comparison of works to be written with those that a collection holds under the same ids."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum

import numpy as np
import numpy.typing as npt

from creditline.corpus.works import Work
from creditline.index.points import StoredWork
from creditline.index.sending import is_transient
from creditline.index.works import WorkIndex
from creditline.retries import RetryPolicy


class Standing(Enum):
    """What a collection holds under the id of a work."""

    ABSENT = "absent"
    """Nothing."""

    SAME = "same"
    """The same work with the same metadata."""

    OLDER = "older"
    """The same work, by caption and source, with other metadata."""

    OTHER = "other"
    """Another work: it has another caption or source."""


@dataclass
class StoredWorks:
    """The works of a collection under given ids, and those of batches that are still being written."""

    index: WorkIndex
    """Client of the index."""
    collection: str
    """Name of the collection."""
    remembered_batches: int
    """Number of batches that may be in flight."""
    _stored: dict[str, StoredWork] = field(default_factory=dict)
    # Captions and sources only: works hold pictures.
    _recent: list[dict[str, tuple[str, str]]] = field(default_factory=list)

    def read(
        self, works: Sequence[Work], retries: RetryPolicy, rng: random.Random, *, with_vectors: bool
    ) -> None:
        """Read what the collection holds under the ids of a batch; the other calls are about that batch.

        Args:
            works: Works of the batch.
            retries: Policy while Qdrant is unavailable or too slow.
            rng: Random generator of the retry jitter.
            with_vectors: Whether their vectors are read too.

        Raises:
            CreditlineError: Qdrant did not answer within `retries`.
        """
        ids = [work.id for work in works]
        self._stored = retries.call(
            lambda: self.index.stored_works(self.collection, ids, with_vectors=with_vectors) if ids else {},
            transient=is_transient,
            rng=rng,
        )

    def standings(self, works: Sequence[Work]) -> list[Standing]:
        """What the collection holds, or soon will, under the id of each work.

        A work whose id is that of an earlier one of the same batch, or of a batch that may not be stored yet,
        is compared with that one.

        Args:
            works: Works of the batch that was read, in order.
        """
        coming: dict[str, tuple[str, str]] = {}
        self._recent = [*self._recent, coming][-self.remembered_batches :]
        return [self._standing(work, coming) for work in works]

    def _standing(self, work: Work, coming: dict[str, tuple[str, str]]) -> Standing:
        earlier = next((batch[work.id] for batch in reversed(self._recent) if work.id in batch), None)
        stored = self._stored.get(work.id)
        if earlier is not None:
            return Standing.SAME if earlier == (work.caption, work.source) else Standing.OTHER
        if stored is not None and (stored.caption, stored.source) != (work.caption, work.source):
            return Standing.OTHER
        coming[work.id] = (work.caption, work.source)
        if stored is None:
            return Standing.ABSENT
        return Standing.SAME if stored.describes(work) else Standing.OLDER

    def is_withdrawn(self, work_id: str) -> bool | None:
        """Whether the collection hides a work; None: it does not hold it."""
        stored = self._stored.get(work_id)
        return None if stored is None else stored.withdrawn

    def vector(self, work_id: str) -> npt.NDArray[np.float32] | None:
        """(D,) float32, the vector of a work; None: the collection does not hold it, or it was not read."""
        stored = self._stored.get(work_id)
        return None if stored is None else stored.vector

    def trained_on(self, work_id: str) -> tuple[str, ...]:
        """Fingerprints of the generators trained on an added work, as the collection holds them."""
        stored = self._stored.get(work_id)
        return () if stored is None else stored.trained_on
