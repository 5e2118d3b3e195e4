"""Withdrawals in the index: what the ledger says is left out is made so in every collection.

Works are hidden by their payload, so that one request reaches a work, or all works of a contributor.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator

from qdrant_client import grpc as qdrant

from creditline.corpus.withdrawn import Withdrawn
from creditline.errors import Conflict, NotReady
from creditline.index.filters import held_by, withdrawn_is
from creditline.index.points import point_id
from creditline.index.works import WorkIndex

_SUBJECTS_PER_REQUEST = 1_000


def enforced(index: WorkIndex, withdrawn: Withdrawn, collection: str) -> None:
    """Make one collection agree with what is withdrawn, and make sure that it does.

    To be called before a collection answers: after it was filled, and before an alias points to it. Raises
    Conflict when a withdrawn work can still be found.
    """
    carry_out(index, withdrawn, [collection])
    check(index, withdrawn, collection)


def carry_out(index: WorkIndex, withdrawn: Withdrawn, collections: Iterable[str]) -> int:
    """Hide what is withdrawn in every collection, and show again what was taken back.

    Returns how many works changed. Where a collection agrees already, nothing is written; one that is dropped
    meanwhile is passed over.
    """
    return sum(_in_collection(index, withdrawn, collection) for collection in collections)


def check(index: WorkIndex, withdrawn: Withdrawn, collection: str) -> None:
    """Raises Conflict when a search of the collection could find a withdrawn work."""
    if any(index.count_matching(collection, which) for which in _listed_against(withdrawn)):
        raise Conflict(
            f"collection {collection!r} still lists works that are withdrawn; do not serve it: a gateway "
            "carries withdrawals out, and so does loading the collection again",
            field="collection",
        )


def _in_collection(index: WorkIndex, withdrawn: Withdrawn, collection: str) -> int:
    try:
        # First what is shown again: whatever comes between, a work ends up hidden rather than shown.
        shown = sum(_set(index, collection, which, hidden=False) for which in _hidden_after_return(withdrawn))
        return shown + sum(
            _set(index, collection, which, hidden=True) for which in _listed_against(withdrawn)
        )
    except NotReady:
        if index.exists(collection):
            raise
        return 0


def _set(index: WorkIndex, collection: str, which: qdrant.Filter, *, hidden: bool) -> int:
    """Counted first: a write that changes nothing would still be one to every replica and to disk."""
    works = index.count_matching(collection, which)
    if works:
        index.withdraw_matching(collection, which, withdrawn=hidden)
    return works


def _listed_against(withdrawn: Withdrawn) -> Iterator[qdrant.Filter]:
    """Works that are covered and still listed."""
    for any_of in _any_of(withdrawn.works, withdrawn.contributors):
        yield qdrant.Filter(must=[withdrawn_is(False), any_of])


def _hidden_after_return(withdrawn: Withdrawn) -> Iterator[qdrant.Filter]:
    """Works that are hidden although they, or whoever hid them, were taken back, and that nothing covers."""
    still = list(_any_of(withdrawn.works, withdrawn.contributors))
    for any_of in _any_of(withdrawn.returned_works, withdrawn.returned_contributors):
        yield qdrant.Filter(must=[withdrawn_is(True), any_of], must_not=still)


def _any_of(works: Iterable[str], people: Iterable[str]) -> Iterator[qdrant.Condition]:
    """Conditions that together match each of these works, and all works of each of these people."""
    for ids in _batches(works):
        points = [qdrant.PointId(uuid=point_id(work_id)) for work_id in ids]
        yield qdrant.Condition(has_id=qdrant.HasIdCondition(has_id=points))
    for names in _batches(people):
        yield held_by(names)


def _batches(subjects: Iterable[str]) -> Iterator[list[str]]:
    remaining = iter(sorted(subjects))
    while batch := list(itertools.islice(remaining, _SUBJECTS_PER_REQUEST)):
        yield batch
