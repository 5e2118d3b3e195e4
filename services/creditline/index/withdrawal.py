"""Enforcement of the ledger's withdrawals in the collections of the index.

Works are hidden through their payload, so that one request covers a work or all works of a contributor.
Contributors are found by their keys, which all spellings of a name share. A collection that was created
before works had keys is searched for every spelling that it holds of a withdrawn name.
"""

from __future__ import annotations

import itertools
from collections.abc import Container, Iterable, Iterator

from creditline.corpus.identity import key_of_name
from creditline.corpus.withdrawn import Withdrawn
from creditline.errors import Conflict, NotReady
from creditline.index.filters import NAMES, of_people, withdrawn_is
from creditline.index.points import point_id
from creditline.index.works import WorkIndex
from creditline.qdrant_messages import qdrant

_SUBJECTS_PER_REQUEST = 1_000


def enforce_withdrawals(index: WorkIndex, withdrawn: Withdrawn, collection: str) -> None:
    """Apply the withdrawals to one collection and verify the result.

    To be called before a collection serves queries: after it was filled, and before an alias points to it.

    Raises:
        Conflict: A withdrawn work can still be found.
    """
    apply_withdrawals(index, withdrawn, [collection])
    check(index, withdrawn, collection)


def apply_withdrawals(index: WorkIndex, withdrawn: Withdrawn, collections: Iterable[str]) -> int:
    """Hide withdrawn works in every collection, and list works again whose withdrawal was revoked.

    Nothing is written to a collection that already agrees. A collection that is dropped meanwhile is skipped.

    Returns:
        The number of works that changed.
    """
    return sum(_apply(index, withdrawn, collection) for collection in collections)


def check(index: WorkIndex, withdrawn: Withdrawn, collection: str) -> None:
    """Verify that no search of the collection can find a withdrawn work.

    Raises:
        Conflict: The collection lists a withdrawn work.
    """
    subjects = _Subjects(index, collection, withdrawn)
    if any(index.count_matching(collection, which) for which in subjects.still_listed()):
        raise Conflict(
            f"collection {collection!r} still lists works that are withdrawn and must not serve queries; a "
            "running gateway hides them, and so does loading the collection again",
            field="collection",
        )


def _apply(index: WorkIndex, withdrawn: Withdrawn, collection: str) -> int:
    try:
        subjects = _Subjects(index, collection, withdrawn)
        # Works are listed again first: a concurrent change then leaves a work hidden rather than listed.
        listed = sum(_set_hidden(index, collection, which, hidden=False) for which in subjects.still_hidden())
        return listed + sum(
            _set_hidden(index, collection, which, hidden=True) for which in subjects.still_listed()
        )
    except NotReady:
        if index.exists(collection):
            raise
        return 0


def _set_hidden(index: WorkIndex, collection: str, which: qdrant.Filter, *, hidden: bool) -> int:
    """Counts first, because a write without effect would still go to every replica and to disk."""
    works = index.count_matching(collection, which)
    if works:
        index.withdraw_matching(collection, which, withdrawn=hidden)
    return works


class _Subjects:
    """The conditions by which one collection finds the subjects of withdrawals."""

    def __init__(self, index: WorkIndex, collection: str, withdrawn: Withdrawn) -> None:
        self._withdrawn = withdrawn
        self._spellings: dict[str, list[str]] = {}
        people = withdrawn.people | withdrawn.listed_again
        if people and NAMES in index.indexed_fields(collection):
            self._spellings = _spellings(index.distinct_values(collection, NAMES), people)

    def still_listed(self) -> Iterator[qdrant.Filter]:
        """Works that are withdrawn but still listed."""
        for any_of in self._any_of(self._withdrawn.works, self._withdrawn.people):
            yield qdrant.Filter(must=[withdrawn_is(False), any_of])

    def still_hidden(self) -> Iterator[qdrant.Filter]:
        """Works that are hidden although their withdrawal was revoked and no other withdrawal covers them."""
        covered = list(self._any_of(self._withdrawn.works, self._withdrawn.people))
        for any_of in self._any_of(self._withdrawn.revoked_works, self._withdrawn.listed_again):
            yield qdrant.Filter(must=[withdrawn_is(True), any_of], must_not=covered)

    def _any_of(self, works: Iterable[str], people: Iterable[str]) -> Iterator[qdrant.Condition]:
        """Conditions that together match the given works and all works of the given people."""
        for ids in _batches(works):
            points = [qdrant.PointId(uuid=point_id(work_id)) for work_id in ids]
            yield qdrant.Condition(has_id=qdrant.HasIdCondition(has_id=points))
        for keys in _batches(people):
            yield of_people(keys, [name for key in keys for name in self._spellings.get(key, ())])


def _spellings(names: Iterable[str], people: Container[str]) -> dict[str, list[str]]:
    """Stored names of some people, by the key of the person."""
    found: dict[str, list[str]] = {}
    for name in names:
        key = key_of_name(name)
        if key in people:
            found.setdefault(key, []).append(name)
    return found


def _batches(subjects: Iterable[str]) -> Iterator[list[str]]:
    remaining = iter(sorted(subjects))
    while batch := list(itertools.islice(remaining, _SUBJECTS_PER_REQUEST)):
        yield batch
