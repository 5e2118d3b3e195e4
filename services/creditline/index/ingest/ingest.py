"""A source's works into a collection: embedded, written in bounded memory, resumed at any batch.

Points have ids that come from their works' ids, so a batch that is sent twice is there once.
"""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Protocol, Self

import numpy as np
import numpy.typing as npt

from creditline.corpus.sources import Found, Source
from creditline.corpus.works import Work
from creditline.errors import InvalidInput
from creditline.index.in_flight import acknowledged_in_order
from creditline.index.ingest.checkpoint import Broken, Checkpoint, Position
from creditline.index.points import WorkPoint
from creditline.index.sending import FIVE_MINUTES, Sending
from creditline.index.works import WorkIndex
from creditline.retries import RetryPolicy

_BATCHES_IN_FLIGHT = 3
# No direction can be told from a shorter vector.
_SHORTEST = 1e-12


class WorkVectors(Protocol):
    """Makes works' vectors from what a source holds of them."""

    @property
    def fingerprint(self) -> str:
        """Names what makes them: a resumed ingest must use the same."""
        ...

    def __call__(self, found: Sequence[Found]) -> npt.NDArray[np.float32]:
        """(B, width) float32, one row for each of `found`, all of which are works."""
        ...


@dataclass(frozen=True)
class AsGiven:
    """A source's own image features are the vectors, but for their length."""

    fingerprint: str = "features as they are"

    def __call__(self, found: Sequence[Found]) -> npt.NDArray[np.float32]:
        """Rows of length 1, but for those that are no direction. Raises InvalidInput without features."""
        rows = []
        for each in found:
            if each.image_features is None:
                raise InvalidInput(
                    f"row {each.row} of {each.part} has no features; embed its picture with --embedder",
                    field="source",
                )
            rows.append(each.image_features)
        vectors = np.asarray(rows, dtype=np.float32)
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        return np.divide(vectors, lengths, out=vectors, where=lengths > _SHORTEST)


@dataclass(frozen=True)
class Loader:
    """This loader takes every `of`-th part of a source, beginning with part `number` (from 0)."""

    number: int = 0
    of: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.number < self.of:
            raise InvalidInput(f"there is no loader {self.number + 1} of {self.of}", field="loader")

    @classmethod
    def parse(cls, text: str) -> Self:
        """From `1/2`, the first of two. Raises InvalidInput."""
        number, slash, of = text.partition("/")
        if not (slash and number.isdecimal() and of.isdecimal() and int(number) >= 1):
            raise InvalidInput(f"loader {text!r} is not of the form 1/2", field="loader")
        return cls(int(number) - 1, int(of))

    @property
    def text(self) -> str:
        """What `parse` reads."""
        return f"{self.number + 1}/{self.of}"

    @property
    def name(self) -> str:
        """E.g. `loader-1-of-2`."""
        return f"loader-{self.number + 1}-of-{self.of}"

    def parts(self, source: Source) -> tuple[str, ...]:
        """The parts that this loader reads, in order."""
        return source.parts()[self.number :: self.of]


ONLY_LOADER = Loader()


@dataclass(frozen=True)
class Progress:
    """Where a running ingest is; the rate is of this run."""

    works: int
    broken: int
    works_per_second: float

    def seconds_left(self, expected: int | None) -> float | None:
        """Until `expected` works are done; None where nobody knows."""
        if not expected or self.works_per_second <= 0.0:
            return None
        return max(expected - self.works - self.broken, 0) / self.works_per_second


ProgressListener = Callable[[Progress], None]


@dataclass(frozen=True)
class IngestReport:
    """works and broken: of the whole ingest, resumed runs together; written, seconds: of this run."""

    works: int
    broken: int
    written: int
    seconds: float

    @property
    def works_per_second(self) -> float:
        return self.written / self.seconds if self.seconds else 0.0


@dataclass(frozen=True)
class Ingest:
    """What is loaded into what. Withdrawn works are written as withdrawn, so they are never listed.

    retries: used for a batch while Qdrant is unavailable, overloaded, full or too slow.
    rng: source of the retries' jitter; by default seeded by the system, so that loaders differ.
    on_progress: called after each acknowledged batch.
    """

    source: Source
    index: WorkIndex
    collection: str
    vectors: WorkVectors
    loader: Loader = ONLY_LOADER
    withdrawn: Callable[[Work], bool] = lambda work: False
    retries: RetryPolicy = FIVE_MINUTES
    rng: random.Random = field(default_factory=random.Random)
    on_progress: ProgressListener = lambda progress: None

    @property
    def identity(self) -> str:
        """What a checkpoint of it belongs to."""
        return " | ".join(
            (self.source.fingerprint, self.collection, self.vectors.fingerprint, self.loader.name)
        )

    def run(self, checkpoint: Checkpoint) -> IngestReport:
        """Load what the checkpoint does not know as done.

        Raises NotReady without the collection, InvalidInput, and Unavailable or ResourceExhausted when
        Qdrant does not take a batch within `retries`; what was acknowledged stays, and another run goes on
        there.
        """
        began, before = time.monotonic(), checkpoint.position.works
        dimension, parts = self.index.dimension(self.collection), self.loader.parts(self.source)
        batches = self._batches(parts, checkpoint.position, dimension)
        with closing(acknowledged_in_order(batches, self._send, limit=_BATCHES_IN_FLIGHT)) as acknowledged:
            for batch in acknowledged:
                checkpoint.advance(batch.position, batch.broken)
                self.on_progress(_progress(batch.position, before, time.monotonic() - began))
        checkpoint.advance(replace(checkpoint.position, finished=True), ())
        done = checkpoint.position
        return IngestReport(done.works, done.broken, done.works - before, time.monotonic() - began)

    def _send(self, batch: _Batch) -> Sending:
        return self.index.send(self.collection, batch.points, self.retries, self.rng)

    def _batches(self, parts: Sequence[str], position: Position, dimension: int) -> Iterator[_Batch]:
        """Batches from `position` on, each with the position after it."""
        rows = self._rows(parts, position)
        while taken := list(itertools.islice(rows, self.index.batch_size)):
            part, last = taken[-1]
            points, broken = self._sorted_out([found for _, found in taken], dimension)
            position = replace(
                position,
                part=part,
                row=last.row + 1,
                works=position.works + len(points),
                broken=position.broken + len(broken),
            )
            yield _Batch(points, broken, position)

    def _rows(self, parts: Sequence[str], position: Position) -> Iterator[tuple[int, Found]]:
        """Rows from `position` on, with the numbers of their parts."""
        for number in range(position.part, len(parts)):
            start = position.row if number == position.part else 0
            for found in self.source.read(parts[number], start):
                yield number, found

    def _sorted_out(self, rows: Sequence[Found], dimension: int) -> tuple[list[WorkPoint], list[Broken]]:
        """Works to write, and rows that are none."""
        broken = [Broken(found.part, found.row, found.broken) for found in rows if found.work is None]
        whole = [found for found in rows if found.work is not None]
        vectors = self.vectors(whole) if whole else np.empty((0, dimension), dtype=np.float32)
        _refuse_other_dimension(vectors, dimension, self.collection)
        lengths = np.linalg.norm(vectors, axis=1)
        usable = np.isfinite(lengths) & (lengths > _SHORTEST)
        broken += [
            Broken(found.part, found.row, "its vector is no direction (NaN, infinite or zero)")
            for found, use in zip(whole, usable, strict=True)
            if not use
        ]
        points = [
            WorkPoint.of(found.work, vector, withdrawn=self.withdrawn(found.work))
            for found, vector, use in zip(whole, vectors, usable, strict=True)
            if use and found.work is not None
        ]
        return points, broken


@dataclass(frozen=True, eq=False)
class _Batch:
    """Works to write and rows that are none; `position`: after all of them."""

    points: list[WorkPoint]
    broken: list[Broken]
    position: Position


def _refuse_other_dimension(vectors: npt.NDArray[np.float32], dimension: int, collection: str) -> None:
    if vectors.shape[1:] != (dimension,):
        raise InvalidInput(
            f"the source's vectors have shape {vectors.shape[1:]}, collection {collection!r} holds"
            f" ({dimension},); load it into one of that width, or embed it with that collection's release",
            field="source",
        )


def _progress(position: Position, before: int, seconds: float) -> Progress:
    done = position.works - before
    return Progress(position.works, position.broken, done / max(seconds, 1e-9))
