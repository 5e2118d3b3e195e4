"""Fills a release's collection from its vectors and the corpus."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from creditline.corpus.withdrawn import NOTHING_WITHDRAWN, Withdrawn
from creditline.corpus.works import Corpus
from creditline.errors import Conflict, FingerprintMismatch
from creditline.index.points import WorkPoint
from creditline.index.withdrawal import enforced
from creditline.index.works import WorkIndex

_COMPARED_VECTORS = 16
# float16 rows and Qdrant's own scaling to length 1 keep the cosine above this.
_SAME_VECTOR_COSINE = 0.999


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
    """What one load did: works found before it, written by it, and there after it."""

    collection: str
    found: int
    written: int
    works: int


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
        yield WorkPoint(
            work_id=work.id,
            vector=vector,
            contributor=work.contributor,
            title=work.title,
            caption=work.caption,
            licence=work.licence,
            source=work.source,
            duplicate_group=work.duplicate_group,
            withdrawn=work.id in hidden or withdrawn.leaves_out(work),
        )


def is_loaded(release: IndexedRelease, index: WorkIndex) -> bool:
    """Whether the release's collection holds as many works as the release, with the same vectors.

    Of the vectors a few are compared: all of them differ between two trainings of one name.
    """
    if not index.exists(release.collection) or index.width(release.collection) != release.width:
        return False
    ids, vectors = release.work_ids(), release.vectors()
    if index.count(release.collection) != len(ids):
        return False
    rows = np.linspace(0, len(ids) - 1, num=min(_COMPARED_VECTORS, len(ids))).astype(int)
    stored = index.vectors(release.collection, [ids[row] for row in rows])
    if stored.shape != vectors[rows].shape:
        return False
    cosines = np.einsum("nd,nd->n", stored, vectors[rows].astype(np.float32))
    return bool(np.all(cosines > _SAME_VECTOR_COSINE))


def index_release(
    release: IndexedRelease, corpus: Corpus, index: WorkIndex, withdrawn: Withdrawn = NOTHING_WITHDRAWN
) -> LoadReport:
    """Write all of a release's works into its collection, build the graph, and verify the count.

    What is withdrawn is never to be found in it, not even while it fills. Running it again is safe: works
    keep their point ids, and what the collection hides stays hidden unless it was taken back. Raises Conflict
    when the collection then holds other works too.
    """
    index.create(release.collection, release.width)
    found = index.count(release.collection)
    hidden = index.withdrawn_works(release.collection)
    written = index.upsert(release.collection, release_points(release, corpus, withdrawn, hidden=hidden))
    enforced(index, withdrawn, release.collection)
    works = index.count(release.collection)
    if works != written:
        raise Conflict(
            f"collection {release.collection!r} holds {works} works, release {release.name!r} has {written}; "
            f"drop it with `creditline index drop {release.collection}` and load it again",
            field="collection",
        )
    index.optimize(release.collection)
    return LoadReport(release.collection, found, written, works)
