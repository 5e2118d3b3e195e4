"""Detection of repeated ids and counting of distinct names, by eight-byte hashes instead of texts."""

from __future__ import annotations

import hashlib
from array import array
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

_NO_WORK = 0
_COMPACTED_EVERY = 1 << 20


def short_hash(text: str) -> int:
    """The first eight bytes of the BLAKE2b hash, never 0.

    Two of 400 million texts have the same hash by chance in one of 230 corpora.
    """
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=8).digest()) or 1


@dataclass(frozen=True)
class Place:
    """Position of a row in a source."""

    part: str
    """Name of the part."""
    row: int
    """Number of the row in its part, from 0."""


@dataclass
class SeenIds:
    """Hashes of the ids of all rows of a source, in row order; eight bytes of memory per row."""

    _hashes: array[int] = field(default_factory=lambda: array("Q"))
    _parts: list[str] = field(default_factory=list)
    _starts: list[int] = field(default_factory=list)

    def add(self, part: str, row: int, work_id: str | None) -> None:
        """Add a row; rows must be added in order.

        Args:
            part: Name of the part.
            row: Number of the row in its part.
            work_id: Id of the work; None for a row that holds no work.
        """
        if not self._parts or self._parts[-1] != part:
            self._parts.append(part)
            self._starts.append(len(self._hashes))
        skipped = self._starts[-1] + row - len(self._hashes)
        self._hashes.extend([_NO_WORK] * skipped)
        self._hashes.append(_NO_WORK if work_id is None else short_hash(work_id))

    def repeated(self) -> int:
        """Number of rows whose id an earlier row already has."""
        values, counts = self._repeated_hashes()
        return int(counts.sum() - len(values))

    def repetitions(self) -> Iterator[tuple[Place, Place]]:
        """Positions of the first row with an id and of each later row with it, ordered by the later row."""
        values, _ = self._repeated_hashes()
        first: dict[int, int] = {}
        hashes = np.frombuffer(self._hashes, dtype=np.uint64)
        for ordinal in np.flatnonzero(np.isin(hashes, values)) if len(values) else ():
            before = first.setdefault(int(hashes[ordinal]), int(ordinal))
            if before != ordinal:
                yield self._place(before), self._place(int(ordinal))

    def _repeated_hashes(self) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
        """Hashes that occur more than once, and their numbers of occurrences."""
        ordered = (
            np.sort(np.frombuffer(self._hashes, dtype=np.uint64)) if self._hashes else np.empty(0, np.uint64)
        )
        repeated = np.unique(ordered[1:][ordered[1:] == ordered[:-1]])
        repeated = repeated[repeated != _NO_WORK]
        ends = np.searchsorted(ordered, repeated, side="right")
        return repeated, ends - np.searchsorted(ordered, repeated, side="left")

    def _place(self, ordinal: int) -> Place:
        part = bisect_right(self._starts, ordinal) - 1
        return Place(self._parts[part], ordinal - self._starts[part])


@dataclass
class Distinct:
    """Counter of distinct texts; eight bytes of memory per distinct text."""

    compacted_every: int = _COMPACTED_EVERY
    """Number of new texts after which their hashes are merged into the sorted array."""
    _known: NDArray[np.uint64] = field(default_factory=lambda: np.empty(0, np.uint64))
    _new: set[int] = field(default_factory=set)

    def add(self, text: str) -> None:
        """Count a text, unless it was counted before."""
        self._new.add(short_hash(text))
        if len(self._new) >= self.compacted_every:
            self._compact()

    def count(self) -> int:
        """Number of distinct texts."""
        self._compact()
        return len(self._known)

    def _compact(self) -> None:
        new = np.fromiter(self._new, np.uint64, len(self._new))
        self._known = np.union1d(self._known, new)
        self._new.clear()
