"""A release's vectors and its corpus become a build that answers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from creditline.corpus.withdrawn import NOTHING_WITHDRAWN, Withdrawn
from creditline.corpus.works import Corpus
from creditline.errors import FingerprintMismatch
from creditline.index.points import WorkPoint
from creditline.index.promotion import (
    Expected,
    builds,
    drop_build,
    live_build,
    next_build,
    promote,
    same_vectors,
    verify,
)
from creditline.index.withdrawal import enforced
from creditline.index.works import WorkIndex

_COMPARED_VECTORS = 16
_VERIFIED_VECTORS = 64


class IndexedRelease(Protocol):
    """What the index needs of a release: see `creditline.release.Release`."""

    @property
    def name(self) -> str: ...

    @property
    def collection(self) -> str: ...

    @property
    def width(self) -> int: ...

    def vectors(self) -> npt.NDArray[np.float32]:
        """(N, width) float32, unit rows, in the order of `work_ids`."""
        ...

    def work_ids(self) -> Sequence[str]:
        """The works, in row order."""
        ...


@dataclass(frozen=True)
class LoadReport:
    """What one load did: the build that is live now, works written and there, and its graph's recall."""

    build: str
    written: int
    works: int
    recall: float


def release_points(
    release: IndexedRelease,
    corpus: Corpus,
    withdrawn: Withdrawn = NOTHING_WITHDRAWN,
    *,
    hidden: frozenset[str] = frozenset(),
) -> Iterator[WorkPoint]:
    """The release's works with their vectors, in row order.

    Withdrawn from the start are those that `withdrawn` covers, and those in `hidden`. Raises
    FingerprintMismatch, NotFound.
    """
    ids, vectors = release.work_ids(), release.vectors()
    if vectors.shape != (len(ids), release.width):
        raise FingerprintMismatch(
            f"release {release.name!r} names {len(ids)} works of width {release.width} but holds vectors of "
            f"shape {vectors.shape}; make the release again",
            field="release",
        )
    for work_id, vector in zip(ids, vectors, strict=True):
        work = corpus.works[corpus.row(work_id)]
        covered = work.id in hidden or withdrawn.leaves_out(work)
        yield WorkPoint.of(work, vector, withdrawn=covered)


def is_loaded(release: IndexedRelease, index: WorkIndex) -> bool:
    """Whether the release's live build holds as many works as the release, with the same vectors.

    Of the vectors a few are compared: all of them differ between two trainings of one name.
    """
    if not index.exists(release.collection) or index.width(release.collection) != release.width:
        return False
    expected = expected_of(release, sample=_COMPARED_VECTORS)
    if index.count(release.collection) != expected.works:
        return False
    stored = index.vectors(release.collection, expected.ids)
    return same_vectors(stored, expected.vectors)


def expected_of(release: IndexedRelease, *, sample: int) -> Expected:
    """What a build of the release holds, with `sample` of its vectors, evenly spread."""
    ids, vectors = release.work_ids(), release.vectors()
    rows = np.linspace(0, len(ids) - 1, num=min(sample, len(ids))).astype(int)
    return Expected(len(ids), [ids[row] for row in rows], vectors[rows].astype(np.float32))


def index_release(
    release: IndexedRelease, corpus: Corpus, index: WorkIndex, withdrawn: Withdrawn = NOTHING_WITHDRAWN
) -> LoadReport:
    """Build a collection of all the release's works beside the live one, verify it, and promote it.

    What is withdrawn is never to be found in it; what the live build hides stays hidden unless it was taken
    back. Builds older than the one a rollback goes to are dropped. Raises Conflict when the build is not what
    the release is; the live one then answers as before.
    """
    live = live_build(index, release.collection)
    hidden = index.withdrawn_works(live) if live else frozenset[str]()
    build = next_build(index, release.collection)
    index.create(build, release.width)
    try:
        written = index.upsert(build, release_points(release, corpus, withdrawn, hidden=hidden))
        enforced(index, withdrawn, build)
        index.optimize(build)
        expected = expected_of(release, sample=_VERIFIED_VECTORS)
        found = verify(index, build, expected)
        before = promote(index, release.collection, build, serves=expected)
    except BaseException:
        index.delete(build)
        raise
    for old in builds(index, release.collection):
        if old not in (build, before):
            drop_build(index, old)
    return LoadReport(build, written, found.works, found.recall)
