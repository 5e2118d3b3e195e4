"""Ingest of a source's works into a collection, in bounded memory and resumable at any batch.

Point ids are derived from work ids, so a batch that is sent twice is stored once. A work that the collection
holds already is neither embedded nor written again, and another work under the same id is never replaced
unless that is asked for.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Self

import numpy as np
import numpy.typing as npt

from creditline.corpus.sources import SOURCE_FILE, Found, Source
from creditline.corpus.works import Work
from creditline.errors import Conflict, InvalidInput
from creditline.index.encoders import check_encoder, is_same_encoder, recorded_encoder
from creditline.index.in_flight import acknowledged_in_order
from creditline.index.ingest.checkpoint import Broken, Checkpoint, Counts, FormerIngest, Position
from creditline.index.ingest.comparison import Compared, Comparison
from creditline.index.ingest.reading import PartEnd, Reading, next_batch
from creditline.index.ingest.stored_works import StoredWorks
from creditline.index.ingest.vectors import MIN_NORM, SourceFeatures, WorkVectors
from creditline.index.points import WorkPoint
from creditline.index.sending import FIVE_MINUTES, PendingUpsert, is_transient
from creditline.index.works import WorkIndex
from creditline.retries import RetryPolicy

_BATCHES_IN_FLIGHT = 3
# The second is begun while the first is embedded.
_BATCHES_EMBEDDED = 2
_NO_DIRECTION = "its vector has no direction (NaN, infinite or zero)"


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

    total: Counts
    """Outcomes of all rows of the source, including earlier runs."""
    run: Counts
    """Outcomes of the rows that this run read."""
    seconds: float
    """Duration of this run."""
    changed_parts: tuple[str, ...] = ()
    """Parts that have changed since an earlier run read them, and that this run read again."""

    @property
    def works(self) -> int:
        """Number of works of the source that the collection holds."""
        return self.total.works

    @property
    def broken(self) -> int:
        """Number of broken rows, including earlier runs."""
        return self.total.broken

    @property
    def written(self) -> int:
        """Number of works written in this run."""
        return self.run.sent

    @property
    def works_per_second(self) -> float:
        """Works written per second in this run."""
        return self.written / self.seconds if self.seconds else 0.0


@dataclass(frozen=True)
class Addition:
    """Statement under which works are added to a release: the named generator was trained on them."""

    generator: str
    """Fingerprint of the generator."""
    release_works: Container[str]
    """Ids of the works of the release itself, which need no statement."""

    def generators_of(self, work_id: str, stored: Sequence[str]) -> tuple[str, ...]:
        """Fingerprints of the generators trained on a work; empty for a work of the release itself.

        Args:
            work_id: Id of the work.
            stored: Fingerprints that the collection holds.
        """
        if work_id in self.release_works:
            return ()
        return tuple(dict.fromkeys((*stored, self.generator)))


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
    overwrite: bool = False
    """Whether a work replaces another one that the collection holds under its id."""
    addition: Addition | None = None
    """Statement under which the works are added to a release; None: they are not."""

    @property
    def identity(self) -> str:
        """Identity of this ingest, stored in its checkpoint; the source may grow meanwhile."""
        return " | ".join(
            (f"{self.source.kind} {self.source.name}", self.collection, self.vectors.fingerprint)
        )

    @property
    def former(self) -> FormerIngest:
        """How a checkpoint of version 0.1 is read, which belongs to the source as a whole."""
        named = (self.source.fingerprint, self.collection, self.vectors.fingerprint, self.loader.name)
        return FormerIngest(" | ".join(named), self._part_fingerprints)

    def _part_fingerprints(self) -> dict[str, str]:
        return {part: self.source.part_fingerprint(part) for part in self.loader.parts(self.source)}

    def run(self, checkpoint: Checkpoint) -> IngestReport:
        """Ingest all rows that the checkpoint does not record.

        When the run fails, acknowledged batches are kept and another run resumes after them.

        Args:
            checkpoint: Position from which to resume; it is advanced after each acknowledged batch.

        Raises:
            NotReady: The collection is missing.
            InvalidInput: The source or its vectors cannot be used.
            FingerprintMismatch: Another encoder made the collection's vectors.
            Conflict: All works of the first batch have the ids of other works; nothing was written.
            Unavailable: Qdrant did not accept a batch within `retries`.
            ResourceExhausted: Qdrant was overloaded or full for longer than `retries`.
        """
        began, before = time.monotonic(), checkpoint.position.counts
        dimension, parts = self.index.dimension(self.collection), self.loader.parts(self.source)
        check_encoder(self.index, self.collection, self.vectors.fingerprint)
        check_pictures = not self.vectors.decodes_pictures
        reading = Reading(self.source, parts, checkpoint, check_pictures=check_pictures)
        batches = self._batches(reading, checkpoint.position, dimension)
        with closing(acknowledged_in_order(batches, self._send, limit=_BATCHES_IN_FLIGHT)) as acknowledged:
            for batch in acknowledged:
                checkpoint.advance(
                    batch.position,
                    batch.broken,
                    part_fingerprint=batch.part_fingerprint,
                    finished_parts=batch.finished_parts,
                )
                self.on_progress(_progress(batch.position.counts, before, time.monotonic() - began))
        checkpoint.advance(
            replace(checkpoint.position, finished=True), (), part_fingerprint=checkpoint.part_fingerprint
        )
        done = checkpoint.position.counts
        return IngestReport(done, done - before, time.monotonic() - began, tuple(reading.changed))

    def _send(self, batch: _Batch) -> PendingUpsert | _NothingToSend:
        if not batch.points:
            return _NothingToSend()
        return self.index.send(self.collection, batch.points, self.retries, self.rng)

    def _batches(self, reading: Reading, position: Position, dimension: int) -> Iterator[_Batch]:
        """Batches after `position`, each with the position that follows it.

        A batch is read, compared and begun while the one before it is still embedded, so that an embedder is
        never idle between two batches.
        """
        threads = ThreadPoolExecutor(_BATCHES_EMBEDDED, "embed")
        begun = self._begun(reading, position, threads)
        try:
            with closing(acknowledged_in_order(begun, _begun_call, limit=_BATCHES_EMBEDDED)) as embedded:
                for batch in embedded:
                    finished = self._finished(batch, position.counts, dimension)
                    position = finished.position
                    yield finished
        finally:
            # The last call of a failed ingest may take minutes; the embedder's client ends it.
            threads.shutdown(wait=False, cancel_futures=True)

    def _begun(self, reading: Reading, start: Position, threads: Executor) -> Iterator[_Begun]:
        """Batches that are compared with the collection and whose embedding has begun."""
        comparison = Comparison(
            StoredWorks(self.index, self.collection, _BATCHES_IN_FLIGHT + _BATCHES_EMBEDDED + 1),
            self.withdrawn,
            keeps=is_same_encoder(recorded_encoder(self.index, self.collection), self.vectors.fingerprint),
            overwrite=self.overwrite,
            with_vectors=isinstance(self.vectors, SourceFeatures),
            retries=self.retries,
            rng=self.rng,
        )
        rows, part, row, is_first = iter(reading), start.part, start.row, True
        while taken := next_batch(rows, self.index.batch_size):
            found = [each for each in taken if isinstance(each, Found)]
            if found:
                part, row = found[-1].part, found[-1].row + 1
            ended = {end.part: end.fingerprint for end in taken if isinstance(end, PartEnd)}
            compared = comparison.compare(found)
            vectors = threads.submit(self.vectors.embed, compared.to_write) if compared.to_write else None
            yield _Begun(
                compared, vectors, part, row, reading.fingerprint(part), ended, is_first and bool(found)
            )
            is_first = is_first and not found
            # The pictures of this batch are not held while the next one is read.
            del taken, found, compared, vectors

    def _finished(self, batch: _Begun, before: Counts, dimension: int) -> _Batch:
        """The batch with its points and the position that follows it.

        Raises:
            InvalidInput: The vectors do not fit the collection.
            Conflict: The batch is the first, and all its works have the ids of other works.
        """
        points, unusable = self._points(batch, dimension)
        compared = batch.compared
        new = len(compared.new.intersection(point.work_id for point in points))
        counts = Counts(
            written=new,
            replaced=len(points) - new,
            kept=len(compared.kept),
            refused=len(compared.refused),
            broken=len(compared.broken) + len(unusable),
            withdrawn=sum(point.withdrawn for point in points) + sum(map(self.withdrawn, compared.kept)),
        )
        if batch.is_first:
            _refuse_if_all_collide(counts, self.collection)
        self._state_training(compared)
        position = Position(batch.part, batch.row, before + counts)
        broken = [*compared.broken, *unusable, *compared.refused]
        return _Batch(points, broken, position, batch.part_fingerprint, batch.finished_parts)

    def _points(self, batch: _Begun, dimension: int) -> tuple[list[WorkPoint], list[Broken]]:
        """Points of the rows to be written; a row is broken if it has no vector, or one of no direction."""
        rows, answers = batch.compared.to_write, batch.vectors.result() if batch.vectors else ()
        _refuse_other_dimension(answers, dimension, self.collection)
        directions = [each if isinstance(each, str) else _direction(each) for each in answers]
        broken = [
            Broken(found.part, found.row, reason)
            for found, reason in zip(rows, directions, strict=True)
            if isinstance(reason, str)
        ]
        points = [
            WorkPoint.of(
                found.work,
                vector,
                withdrawn=self.withdrawn(found.work),
                trained_on=self._trained_on(found.work.id, batch.compared),
            )
            for found, vector in zip(rows, directions, strict=True)
            if found.work is not None and not isinstance(vector, str)
        ]
        return points, broken

    def _trained_on(self, work_id: str, compared: Compared) -> tuple[str, ...]:
        before = compared.trained_on.get(work_id, ())
        return self.addition.generators_of(work_id, before) if self.addition else before

    def _state_training(self, compared: Compared) -> None:
        """Apply the statement of an addition to works that the collection holds already."""
        changes: dict[tuple[str, ...], list[str]] = {}
        for work in compared.kept if self.addition else ():
            generators = self._trained_on(work.id, compared)
            if generators != compared.trained_on.get(work.id, ()):
                changes.setdefault(generators, []).append(work.id)
        for generators, ids in changes.items():
            write = partial(self.index.set_trained_on, self.collection, ids, generators)
            self.retries.call(write, transient=is_transient, rng=self.rng)


@dataclass(frozen=True, eq=False)
class _Begun:
    """One batch of rows that is being embedded; it is acknowledged once it is."""

    compared: Compared
    """Its rows by what becomes of them."""
    vectors: Future[Sequence[npt.NDArray[np.float32] | str]] | None
    """Vectors of the rows to be written, or the reasons why they have none; None: no row is to be written."""
    part: str
    """Name of the part of its last row."""
    row: int
    """Number of the row that follows in that part."""
    part_fingerprint: str
    """Fingerprint of that part."""
    finished_parts: Mapping[str, str]
    """Fingerprints of the parts that end in the batch."""
    is_first: bool
    """Whether it is the first batch with rows."""

    def acknowledged(self) -> None:
        """Wait until the rows are embedded. Raises the error of `WorkVectors.embed`."""
        if self.vectors:
            self.vectors.result()

    def cancel(self) -> None:
        """Leave the embedding if it has not begun."""
        if self.vectors:
            self.vectors.cancel()


def _begun_call(batch: _Begun) -> _Begun:
    return batch


@dataclass(frozen=True, eq=False)
class _Batch:
    """One batch of rows."""

    points: list[WorkPoint]
    """Works to write."""
    broken: list[Broken]
    """Rows that are not written."""
    position: Position
    """Position after all rows of the batch."""
    part_fingerprint: str
    """Fingerprint of the part of that position."""
    finished_parts: Mapping[str, str]
    """Fingerprints of the parts that end in the batch."""


class _NothingToSend:
    """The call for a batch all of whose works the collection holds already."""

    def acknowledged(self) -> None:
        """Nothing is waited for."""

    def cancel(self) -> None:
        """Nothing is in flight."""


def _refuse_if_all_collide(counts: Counts, collection: str) -> None:
    """Refuse a source whose first works all have the ids of other works, as two that number from 0 do."""
    if counts.refused and not counts.works:
        raise Conflict(
            f"all {counts.refused} works of the first batch have ids under which {collection!r} holds other"
            " works, so the two sources number their works alike; nothing was written: name the ids of one of"
            f' them, by a file {SOURCE_FILE} in its directory with {{"ids": "NAME"}}, which then begin with'
            " NAME/, or write over the other works with --replace",
            field="source",
        )


def _direction(vector: npt.NDArray[np.float32]) -> npt.NDArray[np.float32] | str:
    """The vector, or the reason why it has no direction."""
    length = float(np.linalg.norm(vector))
    return vector if np.isfinite(length) and length > MIN_NORM else _NO_DIRECTION


def _refuse_other_dimension(
    answers: Sequence[npt.NDArray[np.float32] | str], dimension: int, collection: str
) -> None:
    shapes = {answer.shape for answer in answers if not isinstance(answer, str)}
    for shape in sorted(shapes - {(dimension,)}):
        raise InvalidInput(
            f"the source's vectors have shape {shape}, but collection {collection!r} has vectors of shape"
            f" ({dimension},); ingest the source into a collection of its dimension, or embed it with the"
            " release of this collection",
            field="source",
        )


def _progress(counts: Counts, before: Counts, seconds: float) -> Progress:
    done = counts.works - before.works
    return Progress(counts.works, counts.broken, done / max(seconds, 1e-9))
