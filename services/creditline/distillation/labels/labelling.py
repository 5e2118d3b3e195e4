"""Labels: a teacher's influence of every work on every planned query, resumable by parts."""

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
from creditline.distillation.labels.query_pictures import QUERIES_PER_PART, sampled
from creditline.distillation.labels.teachers import LabelTeacher
from creditline.errors import FingerprintMismatch, InvalidInput
from creditline.files import replace_file
from creditline.generator.pipeline import Generator

_PARTS = "parts"


@dataclass(frozen=True, eq=False)
class LabelJob:
    """What is labelled: planned queries by a teacher, with decoys beside the corpus.

    pictures: PNG files of the queries, made on the way where they are not given. inclusion: (Q, N), with
    which probability each work was drawn to be labelled; None: all works are. known: labels of an earlier
    round, which are not asked for again. queries_per_part: queries labelled between two checkpoints.
    """

    teacher: LabelTeacher
    corpus: Corpus
    decoys: Corpus
    planned: tuple[PlannedQuery, ...]
    pictures: tuple[bytes, ...] | None = None
    inclusion: NDArray[np.float32] | None = None
    known: LabelSet | None = None
    queries_per_part: int = QUERIES_PER_PART

    @property
    def generator(self) -> Generator:
        return self.teacher.generator


@dataclass(frozen=True)
class Shard:
    """Number `index` (from 1) of `count` processes that label the same plan side by side."""

    index: int
    count: int

    def __post_init__(self) -> None:
        if not 1 <= self.index <= self.count:
            raise InvalidInput(
                f"shard {self.index}/{self.count} is none; say 1/{max(self.count, 1)} and so on",
                field="shard",
            )

    @classmethod
    def parse(cls, text: str) -> Shard:
        """`2/3` is the second of three. Raises InvalidInput."""
        index, slash, count = text.partition("/")
        if not (slash and index.isdecimal() and count.isdecimal()):
            raise InvalidInput(f"shard {text!r} is none; say INDEX/COUNT, such as 1/2", field="shard")
        return cls(int(index), int(count))

    def holds(self, number: int) -> bool:
        """Whether the part of that number is this shard's."""
        return number % self.count == self.index - 1


@dataclass(frozen=True, eq=False)
class _Part:
    """Some queries' pictures and labels. influence: (P, N + D), or (P, N) where the teacher knows no decoys;
    repeat: (those among them that judge, N), or none.
    """

    pictures: tuple[bytes, ...]
    influence: NDArray[np.float32]
    repeat: NDArray[np.float32]


def label_queries(job: LabelJob, directory: Path, report: Callable[[str], None]) -> LabelSet:
    """Label whatever is not labelled yet, and write the label set.

    Raises FingerprintMismatch when `directory` holds parts of another plan, teacher or generator.
    """
    label_shard(job, directory, Shard(1, 1), report)
    labels = _joined(job, [_read_part(path) for path, _ in _parts(job, directory)])
    labels.refuse_overlap()
    write_labels(labels, directory)
    return labels


def label_shard(job: LabelJob, directory: Path, shard: Shard, report: Callable[[str], None]) -> None:
    """Make the pictures of one shard's parts and label them, resuming after the last finished part.

    Raises FingerprintMismatch when `directory` holds parts of another plan, teacher or generator.
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
        report(f"labels: part {done}/{len(mine)}, {seconds:.0f} s; about {left:.0f} s are left")


def _parts(job: LabelJob, directory: Path) -> list[tuple[Path, slice]]:
    """Each part's file and queries."""
    return [
        (directory / _PARTS / f"{start:06d}.npz", slice(start, start + job.queries_per_part))
        for start in range(0, len(job.planned), job.queries_per_part)
    ]


def count_parts(queries: int) -> int:
    """How many parts so many queries are labelled in."""
    return math.ceil(queries / QUERIES_PER_PART)


def query_id(planned: PlannedQuery) -> str:
    """The id that a planned query's noise belongs to."""
    return f"query-{planned.seed}"


def _label_part(job: LabelJob, rows: slice) -> _Part:
    planned, made = job.planned[rows], (job.pictures or ())[rows] or None
    pictures = [read_png(each) for each in made] if made else sampled(job.generator, planned)
    queries = [
        Query(query_id(query), picture, query.prompt)
        for query, picture in zip(planned, pictures, strict=True)
    ]
    judging = [query for query, plan in zip(queries, planned, strict=True) if plan.split != TRAIN]
    repeat = np.zeros((0, len(job.corpus)), dtype=np.float32)
    if judging:
        repeat = job.teacher.repeated(judging)
    return _Part(made or tuple(png(pictures)), _influence(job, queries, rows), repeat)


def _influence(job: LabelJob, queries: Sequence[Query], rows: slice) -> NDArray[np.float32]:
    """Labels of a part's candidates; what an earlier round knows is taken from there. (P, N + D)."""
    if job.inclusion is None:
        return job.teacher.influence(queries, job.decoys)
    wanted = job.inclusion[rows] > 0.0
    if job.known is None or job.known.inclusion is None:
        return job.teacher.influence(queries, job.decoys, wanted)
    before = job.known.inclusion[rows] > 0.0
    found = job.teacher.influence(queries, job.decoys, wanted & ~before)
    works = before.shape[1]
    found[:, :works] = np.where(before, job.known.influence[rows], found[:, :works])
    return found


def _joined(job: LabelJob, parts: Sequence[_Part]) -> LabelSet:
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
            f"{directory} holds labels of another plan, teacher or generator; choose another directory",
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
