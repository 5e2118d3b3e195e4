"""Ingest of a source's works into a collection, in bounded memory and resumable at any batch.

Point ids are derived from work ids, so a batch that is sent twice is stored once. A work that the collection
holds already is neither embedded nor written again, and another work under the same id is never replaced
unless that is asked for.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Protocol, Self

import numpy as np
import numpy.typing as npt

from creditline.corpus.sources import SOURCE_FILE, Found, Source
from creditline.corpus.works import Work
from creditline.errors import Conflict, InvalidInput
from creditline.index.encoders import check_encoder, is_same_encoder, recorded_encoder
from creditline.index.in_flight import acknowledged_in_order
from creditline.index.ingest.checkpoint import Broken, Checkpoint, Counts, FormerIngest, Position
from creditline.index.ingest.reading import PartEnd, Reading, next_batch
from creditline.index.ingest.stored_works import Standing, StoredWorks
from creditline.index.points import WorkPoint
from creditline.index.sending import FIVE_MINUTES, PendingUpsert, is_transient
from creditline.index.works import WorkIndex
from creditline.retries import RetryPolicy

_BATCHES_IN_FLIGHT = 3
# Shorter vectors have no meaningful direction.
_MIN_NORM = 1e-12
# Cosines of equal vectors stay above this after float16 rounding.
_SAME_VECTOR_COSINE = 0.999
_NO_DIRECTION = "its vector has no direction (NaN, infinite or zero)"


class WorkVectors(Protocol):
    """Function from rows of a source to the vectors of their works."""

    @property
    def fingerprint(self) -> str:
        """Identity of the function; a resumed ingest must use the same one."""
        ...

    @property
    def decodes_pictures(self) -> bool:
        """Whether `embed` decodes pictures and reports their faults, so that the source need not."""
        ...

    def dimension_of(self, found: Found) -> int:
        """Dimension of the vector of a row that holds a work."""
        ...

    def embed(self, found: Sequence[Found]) -> Sequence[npt.NDArray[np.float32] | str]:
        """Compute the vectors of rows, all of which hold works.

        Returns:
            For each row the vector, (D,) float32, or the reason why it has none.
        """
        ...


@dataclass(frozen=True)
class SourceFeatures:
    """Uses the image features of a source as vectors, L2-normalised."""

    fingerprint: str = "features as they are"
    """Identity of the function, stored in checkpoints."""
    decodes_pictures: bool = False
    """Whether `embed` decodes pictures: it does not look at them."""

    def dimension_of(self, found: Found) -> int:
        """Dimension of a row's image features. Raises InvalidInput if it has none."""
        return len(_image_features(found))

    def embed(self, found: Sequence[Found]) -> list[npt.NDArray[np.float32] | str]:
        """Take the image features of rows.

        Returns:
            For each row (D,) float32, L2-normalised; zero vectors are left unchanged.

        Raises:
            InvalidInput: A row has no image features.
        """
        return [_normalised(_image_features(each)) for each in found]


def _image_features(found: Found) -> npt.NDArray[np.float32]:
    if found.image_features is None:
        raise InvalidInput(
            f"row {found.row} of {found.part} has no features; embed its picture with --embedder",
            field="source",
        )
    return np.asarray(found.image_features, dtype=np.float32)


def _normalised(vector: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    length = np.linalg.norm(vector)
    return np.divide(vector, length, dtype=np.float32) if length > _MIN_NORM else vector


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
        """Batches after `position`, each with the position that follows it."""
        known_encoder = is_same_encoder(
            recorded_encoder(self.index, self.collection), self.vectors.fingerprint
        )
        stored = StoredWorks(self.index, self.collection, _BATCHES_IN_FLIGHT + 1)
        rows, is_first = iter(reading), True
        while taken := next_batch(rows, self.index.batch_size):
            found = [each for each in taken if isinstance(each, Found)]
            sorted_rows = self._sorted(found, stored, dimension, keeps=known_encoder)
            if is_first and found:
                _refuse_if_all_collide(sorted_rows, self.collection)
                is_first = False
            part, row = (found[-1].part, found[-1].row + 1) if found else (position.part, position.row)
            position = replace(position, part=part, row=row, counts=position.counts + sorted_rows.counts)
            ended = {end.part: end.fingerprint for end in taken if isinstance(end, PartEnd)}
            # The pictures of this batch are not held while the next one is read.
            del taken, found
            yield _Batch(
                sorted_rows.points, sorted_rows.broken, position, reading.fingerprint(position.part), ended
            )

    def _sorted(
        self, rows: Sequence[Found], stored: StoredWorks, dimension: int, *, keeps: bool
    ) -> _SortedRows:
        """Sort rows into works to write, works to keep, and rows that are broken or refused.

        Args:
            rows: Rows of one batch.
            stored: The works that the collection holds.
            dimension: Dimension of the collection.
            keeps: Whether works that the collection holds already are kept without being embedded.
        """
        broken = [Broken(found.part, found.row, found.broken) for found in rows if found.work is None]
        with_work = [found for found in rows if found.work is not None]
        works = [found.work for found in with_work if found.work is not None]
        standings = self._standings(with_work, works, stored)
        refused = [
            Broken(found.part, found.row, _collision(found.work))
            for found, standing in zip(with_work, standings, strict=True)
            if standing is Standing.OTHER and not self.overwrite and found.work is not None
        ]
        kept = [
            work
            for work, standing in zip(works, standings, strict=True)
            if standing is Standing.SAME and keeps
        ]
        to_write = [
            (found, standing)
            for found, standing in zip(with_work, standings, strict=True)
            if standing in (Standing.ABSENT, Standing.OLDER)
            or (standing is Standing.OTHER and self.overwrite)
            or (standing is Standing.SAME and not keeps)
        ]
        points, unusable = self._points([found for found, _ in to_write], stored, dimension)
        written_ids = {point.work_id for point in points}
        new = sum(
            standing is Standing.ABSENT and found.work is not None and found.work.id in written_ids
            for found, standing in to_write
        )
        self._state_training(kept, stored)
        counts = Counts(
            written=new,
            replaced=len(points) - new,
            kept=len(kept),
            refused=len(refused),
            broken=len(broken) + len(unusable),
            withdrawn=sum(point.withdrawn for point in points) + sum(map(self.withdrawn, kept)),
        )
        return _SortedRows(points, [*broken, *unusable, *refused], counts)

    def _standings(self, rows: Sequence[Found], works: Sequence[Work], stored: StoredWorks) -> list[Standing]:
        """What the collection holds under the ids of the rows' works."""
        stored.read(works, self.retries, self.rng, with_vectors=isinstance(self.vectors, SourceFeatures))
        return [
            Standing.OLDER
            if standing is Standing.SAME and self._has_changed(found, work, stored)
            else standing
            for found, work, standing in zip(rows, works, stored.standings(works), strict=True)
        ]

    def _has_changed(self, found: Found, work: Work, stored: StoredWorks) -> bool:
        """Whether a work has been withdrawn, or its vector replaced, since the collection stored it."""
        if stored.is_withdrawn(work.id) not in (None, self.withdrawn(work)):
            return True
        before, now = stored.vector(work.id), found.image_features
        if before is None or now is None or before.shape != now.shape:
            return False
        return not float(before @ now) > _SAME_VECTOR_COSINE * float(np.linalg.norm(now))

    def _points(
        self, rows: Sequence[Found], stored: StoredWorks, dimension: int
    ) -> tuple[list[WorkPoint], list[Broken]]:
        """Embed rows that hold works; a row is broken if it cannot be embedded, or to no direction."""
        answers = self.vectors.embed(rows) if rows else ()
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
                trained_on=self._trained_on(found.work.id, stored),
            )
            for found, vector in zip(rows, directions, strict=True)
            if found.work is not None and not isinstance(vector, str)
        ]
        return points, broken

    def _trained_on(self, work_id: str, stored: StoredWorks) -> tuple[str, ...]:
        before = stored.trained_on(work_id)
        return self.addition.generators_of(work_id, before) if self.addition else before

    def _state_training(self, kept: Sequence[Work], stored: StoredWorks) -> None:
        """Apply the statement of an addition to works that the collection holds already."""
        changes: dict[tuple[str, ...], list[str]] = {}
        for work in kept if self.addition else ():
            generators = self._trained_on(work.id, stored)
            if generators != stored.trained_on(work.id):
                changes.setdefault(generators, []).append(work.id)
        for generators, ids in changes.items():
            write = partial(self.index.set_trained_on, self.collection, ids, generators)
            self.retries.call(write, transient=is_transient, rng=self.rng)


@dataclass(frozen=True, eq=False)
class _SortedRows:
    """Rows of one batch by outcome."""

    points: list[WorkPoint]
    """Works to write."""
    broken: list[Broken]
    """Rows that are not written, with the reasons."""
    counts: Counts
    """Numbers of the outcomes."""


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


def _refuse_if_all_collide(first: _SortedRows, collection: str) -> None:
    """Refuse a source whose first works all have the ids of other works, as two that number from 0 do."""
    counts = first.counts
    if counts.refused and not counts.works:
        raise Conflict(
            f"all {counts.refused} works of the first batch have ids under which {collection!r} holds other"
            " works, so the two sources number their works alike; nothing was written: name the ids of one of"
            f' them, by a file {SOURCE_FILE} in its directory with {{"ids": "NAME"}}, which then begin with'
            " NAME/, or write over the other works with --replace",
            field="source",
        )


def _collision(work: Work) -> str:
    return (
        f"the collection holds another work under the id {work.id!r}; name the ids of this source with"
        f' {{"ids": "NAME"}} in {SOURCE_FILE}, or write over the other work with --replace'
    )


def _direction(vector: npt.NDArray[np.float32]) -> npt.NDArray[np.float32] | str:
    """The vector, or the reason why it has no direction."""
    length = float(np.linalg.norm(vector))
    return vector if np.isfinite(length) and length > _MIN_NORM else _NO_DIRECTION


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
