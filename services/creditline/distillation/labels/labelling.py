"""Labelling: a teacher's influence of the works on planned queries, in parts, so that it can be resumed."""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from creditline.attribution.unlearning.teacher import Query
from creditline.build_lock import build_lock
from creditline.corpus.works import Corpus
from creditline.distillation.labels.label_set import (
    TRAIN,
    LabelledQuery,
    LabelSet,
    png,
    read_png,
    write_labels,
)
from creditline.distillation.labels.queries import PlannedQuery
from creditline.distillation.labels.query_pictures import QUERIES_PER_PART, sample_pictures
from creditline.distillation.labels.teachers import LabelTeacher
from creditline.errors import FingerprintMismatch, InvalidInput
from creditline.files import replace_file
from creditline.generator.pipeline import Generator

_PARTS = "parts"


@dataclass(frozen=True, eq=False)
class LabelJob:
    """Planned queries to be labelled by a teacher."""

    teacher: LabelTeacher
    """The method that labels."""
    corpus: Corpus
    """The N works."""
    decoys: Corpus
    """Pictures that the generator never saw, labelled along with the works."""
    planned: tuple[PlannedQuery, ...]
    """The Q queries."""
    pictures: tuple[bytes, ...] | None = None
    """Pictures of the queries as PNG; None: they are generated during labelling."""
    inclusion: NDArray[np.float32] | None = None
    """(Q, N) float32, probability with which each work was drawn to be labelled; None: all are labelled."""
    known: LabelSet | None = None
    """Labels of an earlier round, which are not computed again."""
    queries_per_part: int = QUERIES_PER_PART
    """Number of queries labelled between two checkpoints."""

    @property
    def generator(self) -> Generator:
        """The teacher's generator."""
        return self.teacher.generator


@dataclass(frozen=True)
class Shard:
    """One of several processes that label the same plan in parallel.

    Raises:
        InvalidInput: The index is not in 1 … count.
    """

    index: int
    """Number of this shard, from 1."""
    count: int
    """Number of shards."""

    def __post_init__(self) -> None:
        if not 1 <= self.index <= self.count:
            raise InvalidInput(
                f"shard {self.index}/{self.count} does not exist; shards are numbered from"
                f" 1/{max(self.count, 1)} to {max(self.count, 1)}/{max(self.count, 1)}",
                field="shard",
            )

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Parse `INDEX/COUNT`: `2/3` is the second of three shards.

        Raises:
            InvalidInput: The text has another form, or names no shard.
        """
        index, slash, count = text.partition("/")
        if not (slash and index.isdecimal() and count.isdecimal()):
            raise InvalidInput(f"{text!r} names no shard; write INDEX/COUNT, such as 1/2", field="shard")
        return cls(int(index), int(count))

    def holds(self, number: int) -> bool:
        """Whether the part with this number (from 0) belongs to this shard."""
        return number % self.count == self.index - 1


@dataclass(frozen=True, eq=False)
class _Part:
    """Pictures and labels of P consecutive queries."""

    pictures: tuple[bytes, ...]
    """The P pictures as PNG."""
    influence: NDArray[np.float32]
    """(P, N + D) float32, or (P, N) where the teacher does not label decoys."""
    repeat: NDArray[np.float32]
    """(E, N) float32, influence with other noise of the E evaluation queries of the part."""


def label_queries(job: LabelJob, directory: Path, report: Callable[[str], None]) -> LabelSet:
    """Label the queries that are not labelled yet, and write the label set.

    Args:
        job: What is labelled.
        directory: Directory of the parts and of the label set.
        report: Receives progress messages.

    Raises:
        FingerprintMismatch: The directory holds parts of another plan, teacher or generator.
    """
    label_shard(job, directory, Shard(1, 1), report)
    labels = _join_parts(job, [_read_part(path) for path, _ in _parts(job, directory)])
    labels.refuse_overlap()
    write_labels(labels, directory)
    return labels


def label_shard(job: LabelJob, directory: Path, shard: Shard, report: Callable[[str], None]) -> None:
    """Generate the pictures of one shard's parts and label them; finished parts are skipped.

    Args:
        job: What is labelled, by all shards together.
        directory: Directory of the parts, the same for all shards.
        shard: The shard that this process labels.
        report: Receives progress messages.

    Raises:
        FingerprintMismatch: The directory holds parts of another plan, teacher or generator.
    """
    _refuse_other_plan(job, directory / _PARTS)
    mine = [entry for number, entry in enumerate(_parts(job, directory)) if shard.holds(number)]
    started = time.perf_counter()
    missing = [entry for entry in mine if not entry[0].is_file()]
    for number, (path, rows) in enumerate(missing, start=1):
        with build_lock(path, on_wait=report):
            if not path.is_file():
                _write_part(_label_part(job, rows), path)
        seconds = time.perf_counter() - started
        left = seconds / number * (len(missing) - number)
        done = len(mine) - len(missing) + number
        report(f"labels: part {done}/{len(mine)} after {seconds:.0f} s; about {left:.0f} s remaining")


def _parts(job: LabelJob, directory: Path) -> list[tuple[Path, slice]]:
    """File and row range of each part."""
    return [
        (directory / _PARTS / f"{start:06d}.npz", slice(start, start + job.queries_per_part))
        for start in range(0, len(job.planned), job.queries_per_part)
    ]


def count_parts(queries: int) -> int:
    """Number of parts that a number of queries is labelled in."""
    return math.ceil(queries / QUERIES_PER_PART)


def query_id(planned: PlannedQuery) -> str:
    """Id of a planned query, which also seeds the noise of its labels."""
    return f"query-{planned.seed}"


def _label_part(job: LabelJob, rows: slice) -> _Part:
    planned, stored = job.planned[rows], (job.pictures or ())[rows] or None
    if stored:
        pictures = [read_png(picture) for picture in stored]
    else:
        pictures = sample_pictures(job.generator, planned)
    queries = [
        Query(query_id(query), picture, query.prompt)
        for query, picture in zip(planned, pictures, strict=True)
    ]
    evaluation = [query for query, plan in zip(queries, planned, strict=True) if plan.split != TRAIN]
    repeat = np.zeros((0, len(job.corpus)), dtype=np.float32)
    if evaluation:
        repeat = job.teacher.repeated(evaluation)
    return _Part(stored or tuple(png(pictures)), _influence(job, queries, rows), repeat)


def _influence(job: LabelJob, queries: Sequence[Query], rows: slice) -> NDArray[np.float32]:
    """Influence of a part's candidates, (P, N + D); known labels of an earlier round are reused."""
    if job.inclusion is None:
        return job.teacher.influence(queries, job.decoys)
    wanted = job.inclusion[rows] > 0.0
    if job.known is None or job.known.inclusion is None:
        return job.teacher.influence(queries, job.decoys, wanted)
    known = job.known.inclusion[rows] > 0.0
    influence = job.teacher.influence(queries, job.decoys, wanted & ~known)
    works = known.shape[1]
    influence[:, :works] = np.where(known, job.known.influence[rows], influence[:, :works])
    return influence


def _join_parts(job: LabelJob, parts: Sequence[_Part]) -> LabelSet:
    works = len(job.corpus)
    pictures = [picture for part in parts for picture in part.pictures]
    influence = np.concatenate([part.influence for part in parts])
    repeat = np.concatenate([part.repeat for part in parts])
    return LabelSet(
        queries=tuple(
            LabelledQuery(picture, query.prompt, query.seed, query.guidance, query.split)
            for query, picture in zip(job.planned, pictures, strict=True)
        ),
        influence=influence[:, :works],
        influence_repeat=repeat if len(repeat) else None,
        decoy_influence=influence[:, works:] if influence.shape[1] > works else None,
        generator_fingerprint=job.generator.fingerprint,
        corpus_name=job.corpus.name,
        corpus_fingerprint=job.corpus.fingerprint,
        decoy_fingerprint=job.decoys.fingerprint,
        inclusion=job.inclusion,
        teacher=job.teacher.name,
    )


def _refuse_other_plan(job: LabelJob, directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "plan.json"
    plan = {
        "teacher": job.teacher.origin(),
        "decoys": job.decoys.fingerprint,
        "candidates": "" if job.inclusion is None else hashlib.sha256(job.inclusion.tobytes()).hexdigest(),
        "planned": [[query.prompt, query.seed, query.split, query.guidance] for query in job.planned],
    }
    if path.is_file() and json.loads(path.read_text()) != plan:
        raise FingerprintMismatch(
            f"{directory} holds labels of another plan, teacher or generator; use another directory",
            field="labels",
        )
    with replace_file(path, durable=True) as draft:
        draft.write_text(json.dumps(plan))


def _write_part(part: _Part, path: Path) -> None:
    lengths = np.array([len(picture) for picture in part.pictures])
    joined = np.frombuffer(b"".join(part.pictures), dtype=np.uint8)
    with replace_file(path, durable=True) as draft:
        np.savez(draft, lengths=lengths, pictures=joined, influence=part.influence, repeat=part.repeat)


def _read_part(path: Path) -> _Part:
    with np.load(path) as stored:
        ends = np.cumsum(stored["lengths"])
        joined = stored["pictures"].tobytes()
        starts = ends - stored["lengths"]
        pictures = tuple(joined[a:b] for a, b in zip(starts, ends, strict=True))
        return _Part(pictures, stored["influence"], stored["repeat"])
