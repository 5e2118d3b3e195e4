"""Creation of a build from a release's vectors and its corpus, and its promotion.

A release replaces and deletes only builds that it owns (`creditline.index.builds.ownership`). A build is
deleted only while no alias points to it; once the switch to it has started, its load never deletes it.
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
from creditline.index.withdrawal import enforce_withdrawals
from creditline.index.works import WorkIndex
from creditline.retries import RetryPolicy

_LOGGER = logging.getLogger(__name__)
_COMPARED_VECTORS = 16
_VERIFIED_VECTORS = 64


class IndexedRelease(Protocol):
    """The part of a release that the index reads; see `creditline.release.Release`."""

    @property
    def name(self) -> str:
        """Name of the release."""
        ...

    @property
    def collection(self) -> str:
        """Alias under which the release's works are searched."""
        ...

    @property
    def dimension(self) -> int:
        """Dimension of the vectors."""
        ...

    def vectors(self) -> npt.NDArray[np.float32]:
        """(N, D) float32, rows of unit length, in the order of `work_ids`."""
        ...

    def work_ids(self) -> Sequence[str]:
        """Ids of the N works, in row order."""
        ...


@dataclass(frozen=True)
class LoadReport:
    """Result of a load that created a build."""

    build: str
    """The new build, which is live."""

    written: int
    """Number of works written."""

    works: int
    """Number of works that the build holds."""

    recall: float
    """Recall of the build's graph against exact search, on a sample of queries."""


def release_points(
    release: IndexedRelease,
    corpus: Corpus,
    withdrawn: Withdrawn = NOTHING_WITHDRAWN,
    *,
    hidden: frozenset[str] = frozenset(),
) -> Iterator[WorkPoint]:
    """The release's works with their vectors as points, in row order.

    Args:
        release: The release.
        corpus: The corpus that holds its works.
        withdrawn: The withdrawals in force; works that they cover are written as withdrawn.
        hidden: Ids of further works that are written as withdrawn.

    Raises:
        FingerprintMismatch: The release's ids and vectors do not match.
        NotFound: The corpus lacks a work of the release.
    """
    ids, vectors = release.work_ids(), release.vectors()
    if vectors.shape != (len(ids), release.dimension):
        raise FingerprintMismatch(
            f"release {release.name!r} lists {len(ids)} works of dimension {release.dimension}, but its"
            f" vectors have shape {vectors.shape}; build the release again",
            field="release",
        )
    for work_id, vector in zip(ids, vectors, strict=True):
        work = corpus.works[corpus.row(work_id)]
        covered = work.id in hidden or withdrawn.leaves_out(work)
        yield WorkPoint.of(work, vector, withdrawn=covered)


def is_loaded(release: IndexedRelease, index: WorkIndex) -> bool:
    """Whether the release's live build has the same number of works and the same vectors as the release.

    Only a few vectors are compared: between two trainings under one name, all vectors differ.
    """
    if not index.exists(release.collection) or index.dimension(release.collection) != release.dimension:
        return False
    expected = expected_of(release, sample=_COMPARED_VECTORS)
    if index.count(release.collection) != expected.works:
        return False
    stored = index.vectors(release.collection, expected.ids)
    return same_vectors(stored, expected.vectors)


def expected_of(release: IndexedRelease, *, sample: int) -> Expected:
    """Expected content of a build of the release.

    Args:
        release: The release.
        sample: Number of works, evenly spread over the rows, whose vectors are compared.
    """
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
    """Create a build of all the release's works beside the live one, verify it, and promote it.

    The new build never lists withdrawn works. Works that the live build hides stay hidden unless their
    withdrawal was revoked. Builds that the release owns are deleted once they are neither live nor kept for
    a rollback. This function replaces any live build; `creditline.index.builds.loading` decides whether it
    may.

    Args:
        release: The release.
        corpus: The corpus that holds its works.
        index: Client of the index.
        withdrawn: The withdrawals in force.
        retries: Policy for reading the alias when the reply to the switch is lost.

    Raises:
        FingerprintMismatch: The release's ids and vectors do not match.
        NotFound: The corpus lacks a work of the release.
        Conflict: The build does not match the release, or another load took its name. The live build stays
            live, and the new one is deleted.
        CreditlineError: A call to Qdrant failed. Before the switch, the new build is deleted; when the switch
            itself fails, the verified build is kept for another `promote`.
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
        enforce_withdrawals(index, withdrawn, build)
        index.optimize(build)
        expected = expected_of(release, sample=_VERIFIED_VECTORS)
        found = verify(index, build, expected)
        write_mark(index, build, mark.at(BuildState.VERIFIED))
    promote_own(index, release, build, retries=retries)
    return LoadReport(build, written, found.works, found.recall)


def promote_own(
    index: WorkIndex, release: IndexedRelease, build: str, *, retries: RetryPolicy = SETTLING
) -> None:
    """Promote a verified build of the release, and delete the builds that it supersedes.

    Failures after the switch are logged and left to the next load.

    Args:
        index: Client of the index.
        release: The release.
        build: A verified build that the release owns.
        retries: Policy for reading the alias when the reply to the switch is lost.

    Raises:
        CreditlineError: The errors of `promote`; a note names the commands that promote or drop the build.
    """
    try:
        expected = expected_of(release, sample=_VERIFIED_VECTORS)
        before = promote(index, release.collection, build, serves=expected, retries=retries)
    except BaseException as error:
        error.add_note(
            f"{build!r} is complete and was kept: `creditline index promote {build}` makes it live,"
            f" `creditline index drop {build}` deletes it"
        )
        raise
    try:
        for promoted in (build, before):
            _mark_promoted(index, release, promoted)
        _delete_superseded(index, release, keep={build, before})
    except CreditlineError as failure:
        _LOGGER.warning(
            "build %s is live, but superseded builds could not be deleted; the next load deletes them: %s",
            build,
            failure.message,
        )


def _mark_promoted(index: WorkIndex, release: IndexedRelease, build: str | None) -> None:
    """Mark a build that the release owns as promoted, unless it is marked already."""
    mark = owned_build(index, build, release.name) if build else None
    if build and mark is not None and mark.state is BuildState.VERIFIED:
        write_mark(index, build, mark.at(BuildState.PROMOTED))


def _delete_superseded(index: WorkIndex, release: IndexedRelease, *, keep: Collection[str | None]) -> None:
    """Delete the release's builds that have been promoted, except those to keep.

    Another load may still be filling a build that has never been promoted.
    """
    for old in builds(index, release.collection):
        mark = None if old in keep else owned_build(index, old, release.name)
        if mark is not None and mark.state is BuildState.PROMOTED:
            drop_build(index, old)


@contextmanager
def _deleted_on_failure(index: WorkIndex, build: str, mark: BuildMark) -> Iterator[None]:
    """Delete this load's build when the block fails; the error raised is always that of the block."""
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
    """Delete the build if this load created it. Raises Conflict when the build is live."""
    # The old connection may be the cause of the failure.
    index.reconnect()
    try:
        found = mark_of(index, build)
    except NotReady:
        return
    if found is not None and found.load == mark.load:
        drop_build(index, build)
