"""Ingest of a source's works into a collection, in bounded memory and resumable at any batch.

Point ids are derived from work ids, so a batch that is sent twice is stored once.
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

from creditline.corpus.sources import Found, Source, read_ahead
from creditline.corpus.works import Work
from creditline.errors import InvalidInput
from creditline.index.in_flight import acknowledged_in_order
from creditline.index.ingest.checkpoint import Broken, Checkpoint, Position
from creditline.index.points import WorkPoint
from creditline.index.sending import FIVE_MINUTES, PendingUpsert
from creditline.index.works import WorkIndex
from creditline.retries import RetryPolicy

_BATCHES_IN_FLIGHT = 3
# Shorter vectors have no meaningful direction.
_MIN_NORM = 1e-12


class WorkVectors(Protocol):
    """Function from rows of a source to the vectors of their works."""

    @property
    def fingerprint(self) -> str:
        """Identity of the function; a resumed ingest must use the same one."""
        ...

    def __call__(self, found: Sequence[Found]) -> npt.NDArray[np.float32]:
        """Compute the vectors of B rows, all of which hold works.

        Returns:
            (B, D) float32, in the order of the rows.
        """
        ...


@dataclass(frozen=True)
class SourceFeatures:
    """Uses the image features of a source as vectors, L2-normalised."""

    fingerprint: str = "features as they are"
    """Identity of the function, stored in checkpoints."""

    def __call__(self, found: Sequence[Found]) -> npt.NDArray[np.float32]:
        """Take the image features of B rows.

        Returns:
            (B, D) float32, L2-normalised rows; zero vectors are left unchanged.

        Raises:
            InvalidInput: A row has no image features.
        """
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
        return np.divide(vectors, lengths, out=vectors, where=lengths > _MIN_NORM)


@dataclass(frozen=True)
class Loader:
    """One of several loaders that share the parts of a source.

    It reads every `of`-th part, starting with part `number`.

    Raises:
        InvalidInput: The number is not below the number of loaders.
    """

    number: int = 0
    """Number of this loader, from 0."""
    of: int = 1
    """Number of loaders."""

    def __post_init__(self) -> None:
        if not 0 <= self.number < self.of:
            raise InvalidInput(
                f"there is no loader {self.number + 1} of {self.of}; give N/M with N from 1 to M",
                field="loader",
            )

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse `N/M`, where `1/2` is the first of two loaders. Raises InvalidInput."""
        number, slash, of = text.partition("/")
        if not (slash and number.isdecimal() and of.isdecimal() and int(number) >= 1):
            raise InvalidInput(
                f"loader {text!r} is not of the form N/M; write 1/2 for the first of two", field="loader"
            )
        return cls(int(number) - 1, int(of))

    @property
    def text(self) -> str:
        """The loader in the form that `parse` reads."""
        return f"{self.number + 1}/{self.of}"

    @property
    def name(self) -> str:
        """Name for files, such as `loader-1-of-2`."""
        return f"loader-{self.number + 1}-of-{self.of}"

    def parts(self, source: Source) -> tuple[str, ...]:
        """The parts that this loader reads, in order."""
        return source.parts()[self.number :: self.of]


ONLY_LOADER = Loader()


@dataclass(frozen=True)
class Progress:
    """Progress of a running ingest."""

    works: int
    """Number of works written, including earlier runs."""
    broken: int
    """Number of broken rows, including earlier runs."""
    works_per_second: float
    """Works written per second in this run."""

    def seconds_left(self, expected: int | None) -> float | None:
        """Estimated seconds until `expected` rows are done; None: unknown."""
        if not expected or self.works_per_second <= 0.0:
            return None
        return max(expected - self.works - self.broken, 0) / self.works_per_second


ProgressListener = Callable[[Progress], None]


@dataclass(frozen=True)
class IngestReport:
    """Result of one run of an ingest."""

    works: int
    """Number of works written, including earlier runs."""
    broken: int
    """Number of broken rows, including earlier runs."""
    written: int
    """Number of works written in this run."""
    seconds: float
    """Duration of this run."""

    @property
    def works_per_second(self) -> float:
        """Works written per second in this run."""
        return self.written / self.seconds if self.seconds else 0.0


@dataclass(frozen=True)
class Ingest:
    """Ingest of a source, or one loader's parts of it, into a collection."""

    source: Source
    """The source to be ingested."""
    index: WorkIndex
    """Client of the index."""
    collection: str
    """Name of the collection, which must exist."""
    vectors: WorkVectors
    """Function from rows of the source to vectors."""
    loader: Loader = ONLY_LOADER
    """Which parts of the source are read."""
    withdrawn: Callable[[Work], bool] = lambda work: False
    """Whether a work is withdrawn; such a work is written as withdrawn, so that it is never listed."""
    retries: RetryPolicy = FIVE_MINUTES
    """Policy for a batch while Qdrant is unavailable, overloaded, full or too slow."""
    rng: random.Random = field(default_factory=random.Random)
    """Random generator of the retry jitter; seeded by the system by default, so that loaders differ."""
    on_progress: ProgressListener = lambda progress: None
    """Called after each acknowledged batch."""

    @property
    def identity(self) -> str:
        """Identity of this ingest, stored in its checkpoint."""
        return " | ".join(
            (self.source.fingerprint, self.collection, self.vectors.fingerprint, self.loader.name)
        )

    def run(self, checkpoint: Checkpoint) -> IngestReport:
        """Ingest all rows after the checkpoint's position.

        When the run fails, acknowledged batches are kept and another run resumes after them.

        Args:
            checkpoint: Position from which to resume; it is advanced after each acknowledged batch.

        Raises:
            NotReady: The collection is missing.
            InvalidInput: The source or its vectors cannot be used.
            Unavailable: Qdrant did not accept a batch within `retries`.
            ResourceExhausted: Qdrant was overloaded or full for longer than `retries`.
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

    def _send(self, batch: _Batch) -> PendingUpsert:
        return self.index.send(self.collection, batch.points, self.retries, self.rng)

    def _batches(self, parts: Sequence[str], position: Position, dimension: int) -> Iterator[_Batch]:
        """Batches after `position`, each with the position that follows it."""
        rows = self._rows(parts, position)
        while taken := list(itertools.islice(rows, self.index.batch_size)):
            part, last = taken[-1]
            points, broken = self._split_rows([found for _, found in taken], dimension)
            position = replace(
                position,
                part=part,
                row=last.row + 1,
                works=position.works + len(points),
                broken=position.broken + len(broken),
            )
            yield _Batch(points, broken, position)

    def _rows(self, parts: Sequence[str], position: Position) -> Iterator[tuple[int, Found]]:
        """Rows after `position`, with the numbers of their parts."""
        for number in range(position.part, len(parts)):
            start = position.row if number == position.part else 0
            for found in read_ahead(self.source.read(parts[number], start)):
                yield number, found

    def _split_rows(self, rows: Sequence[Found], dimension: int) -> tuple[list[WorkPoint], list[Broken]]:
        """Split rows into points to write and broken rows."""
        broken = [Broken(found.part, found.row, found.broken) for found in rows if found.work is None]
        with_work = [found for found in rows if found.work is not None]
        vectors = self.vectors(with_work) if with_work else np.empty((0, dimension), dtype=np.float32)
        _refuse_other_dimension(vectors, dimension, self.collection)
        lengths = np.linalg.norm(vectors, axis=1)
        usable = np.isfinite(lengths) & (lengths > _MIN_NORM)
        broken += [
            Broken(found.part, found.row, "its vector has no direction (NaN, infinite or zero)")
            for found, is_usable in zip(with_work, usable, strict=True)
            if not is_usable
        ]
        points = [
            WorkPoint.of(found.work, vector, withdrawn=self.withdrawn(found.work))
            for found, vector, is_usable in zip(with_work, vectors, usable, strict=True)
            if is_usable and found.work is not None
        ]
        return points, broken


@dataclass(frozen=True, eq=False)
class _Batch:
    """One batch of rows."""

    points: list[WorkPoint]
    """Works to write."""
    broken: list[Broken]
    """Rows without a usable work."""
    position: Position
    """Position after all rows of the batch."""


def _refuse_other_dimension(vectors: npt.NDArray[np.float32], dimension: int, collection: str) -> None:
    if vectors.shape[1:] != (dimension,):
        raise InvalidInput(
            f"the source's vectors have shape {vectors.shape[1:]}, but collection {collection!r} has vectors"
            f" of shape ({dimension},); ingest the source into a collection of its dimension, or embed it"
            " with the release of this collection",
            field="source",
        )


def _progress(position: Position, before: int, seconds: float) -> Progress:
    done = position.works - before
    return Progress(position.works, position.broken, done / max(seconds, 1e-9))
