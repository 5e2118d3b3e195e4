"""A release's vectors and its corpus become a build that answers.

A release replaces and deletes only builds that it made itself (`creditline.index.builds.ownership`). A build
is deleted only while no alias means it; once the switch to it has begun, its load never deletes it.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from creditline.corpus.withdrawn import NOTHING_WITHDRAWN, Withdrawn
from creditline.corpus.works import Corpus
from creditline.errors import CreditlineError, FingerprintMismatch, NotReady
from creditline.index.builds.ownership import (
    METADATA_KEY,
    BuildMark,
    BuildState,
    fingerprint_of,
    mark_of,
    owned_build,
    write_mark,
)
from creditline.index.builds.promotion import (
    SETTLING,
    Expected,
    builds,
    drop_build,
    live_build,
    next_build,
    promote,
    same_vectors,
    verify,
)
from creditline.index.points import WorkPoint
from creditline.index.withdrawal import enforced
from creditline.index.works import WorkIndex
from creditline.retries import RetryPolicy

_LOGGER = logging.getLogger(__name__)
_COMPARED_VECTORS = 16
_VERIFIED_VECTORS = 64


class IndexedRelease(Protocol):
    """What the index needs of a release: see `creditline.release.Release`."""

    @property
    def name(self) -> str: ...

    @property
    def collection(self) -> str: ...

    @property
    def dimension(self) -> int: ...

    def vectors(self) -> npt.NDArray[np.float32]:
        """(N, width) float32, unit rows, in the order of `work_ids`."""
        ...

    def work_ids(self) -> Sequence[str]:
        """The works, in row order."""
        ...


@dataclass(frozen=True)
class LoadReport:
    """What one load built."""

    build: str
    """The build that is live now."""

    written: int
    """How many works were written."""

    works: int
    """How many works the build holds."""

    recall: float
    """The part of the exact nearest works that the build's graph finds, on a sample."""


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
    if vectors.shape != (len(ids), release.dimension):
        raise FingerprintMismatch(
            f"release {release.name!r} names {len(ids)} works of dimension {release.dimension} but its"
            f" vectors have shape {vectors.shape}; make the release again",
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
    if not index.exists(release.collection) or index.dimension(release.collection) != release.dimension:
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
    release: IndexedRelease,
    corpus: Corpus,
    index: WorkIndex,
    withdrawn: Withdrawn = NOTHING_WITHDRAWN,
    *,
    retries: RetryPolicy = SETTLING,
) -> LoadReport:
    """Build a collection of all the release's works beside the live one, verify it, and promote it.

    Withdrawn works are never listed in it; those that the live build hides stay hidden unless their
    withdrawal was revoked. Builds that the release made are deleted once they are neither live nor the way
    back. Whether the live build may be replaced is not asked here: see `creditline.index.builds.loading`.

    Raises:
        Conflict: the build is not what the release is, or another load took its name. The live build answers
        as
            before, and the new one is deleted.
        CreditlineError: what a call to Qdrant raised. Before the switch the new build is deleted; when the
            switch itself fails it is kept, verified, for another `promote`.
    """
    mark = BuildMark(
        release.name, fingerprint_of(release.work_ids(), release.vectors()), len(release.work_ids())
    )
    live = live_build(index, release.collection)
    hidden = index.withdrawn_works(live) if live else frozenset[str]()
    build = next_build(index, release.collection)
    with _deleted_on_failure(index, build, mark):
        index.create_new(build, release.dimension, {METADATA_KEY: mark.to_json()})
        written = index.upsert(build, release_points(release, corpus, withdrawn, hidden=hidden))
        enforced(index, withdrawn, build)
        index.optimize(build)
        expected = expected_of(release, sample=_VERIFIED_VECTORS)
        found = verify(index, build, expected)
        write_mark(index, build, mark.at(BuildState.VERIFIED))
    promote_own(index, release, build, retries=retries)
    return LoadReport(build, written, found.works, found.recall)


def promote_own(
    index: WorkIndex, release: IndexedRelease, build: str, *, retries: RetryPolicy = SETTLING
) -> None:
    """Let a verified build of the release answer, and delete those that it supersedes.

    The switch decides: what fails after it is logged and left to the next load. Raises what `promote` raises.
    """
    try:
        expected = expected_of(release, sample=_VERIFIED_VECTORS)
        before = promote(index, release.collection, build, serves=expected, retries=retries)
    except BaseException as error:
        error.add_note(
            f"{build!r} is whole and was kept: `creditline index promote {build}` lets it answer,"
            f" `creditline index drop {build}` deletes it"
        )
        raise
    try:
        for each in (build, before):
            _note_promotion(index, release, each)
        _delete_superseded(index, release, keep={build, before})
    except CreditlineError as failure:
        _LOGGER.warning("%s is live, but builds before it could not be deleted: %s", build, failure.message)


def _note_promotion(index: WorkIndex, release: IndexedRelease, build: str | None) -> None:
    """Mark a build of the release as promoted, if it is not yet."""
    mark = owned_build(index, build, release.name) if build else None
    if build and mark is not None and mark.state is BuildState.VERIFIED:
        write_mark(index, build, mark.at(BuildState.PROMOTED))


def _delete_superseded(index: WorkIndex, release: IndexedRelease, *, keep: Collection[str | None]) -> None:
    """Delete builds of the release that have been promoted once.

    One that has not been may be in the hands of another load.
    """
    for old in builds(index, release.collection):
        mark = None if old in keep else owned_build(index, old, release.name)
        if mark is not None and mark.state is BuildState.PROMOTED:
            drop_build(index, old)


@contextmanager
def _deleted_on_failure(index: WorkIndex, build: str, mark: BuildMark) -> Iterator[None]:
    """Delete the build of this load when the block fails; the error that is raised is always the block's."""
    try:
        yield
    except BaseException as error:
        try:
            _delete_own(index, build, mark)
        except CreditlineError as failure:
            error.add_note(
                f"{build!r} could not be deleted ({failure.message}); delete it with"
                f" `creditline index drop {build}`"
            )
        raise


def _delete_own(index: WorkIndex, build: str, mark: BuildMark) -> None:
    """Delete the build if this very load made it and nothing means it. Raises Conflict when it is live."""
    # The old connection may be what failed.
    index.reconnect()
    try:
        found = mark_of(index, build)
    except NotReady:
        return
    if found is not None and found.load == mark.load:
        drop_build(index, build)
