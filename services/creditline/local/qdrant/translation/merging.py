"""Merges the results of several shards into the result of one collection."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import qdrant_edge as edge

from creditline.local.qdrant.translation.edge_types import FacetValue, Record, ScoredPoint
from creditline.local.qdrant.translation.queries import Facet, Scroll, Search
from creditline.local.qdrant.translation.values import PointId, id_order

# 2^64 divided by the golden ratio: consecutive ids are spread evenly over the shards.
_SPREAD = 0x9E3779B97F4A7C15
_WORD = (1 << 64) - 1
_T = TypeVar("_T")


@dataclass(frozen=True)
class Page:
    """One page of a scroll."""

    records: Sequence[Record]
    """Records in the order of their ids."""
    following: PointId | None
    """First id of the next page; None on the last page."""


def shard_of(point: PointId, shards: int) -> int:
    """Number of the shard that holds a point.

    This mapping must never change: otherwise an update would store a point a second time, in another shard.
    """
    number = point if isinstance(point, int) else point.int & _WORD
    return ((number * _SPREAD & _WORD) >> 32) * shards >> 32


def best(
    parts: Sequence[Sequence[ScoredPoint]], search: Search, *, smaller_is_better: bool
) -> Sequence[ScoredPoint]:
    """The result that a single shard with all points would return; equal scores are ordered by id."""
    if len(parts) == 1:
        return parts[0][search.offset :]
    sign = 1 if smaller_is_better else -1
    ranked = sorted(itertools.chain(*parts), key=lambda point: (sign * point.score, id_order(point.id)))
    return ranked[search.offset : search.offset + search.limit]


def page(parts: Sequence[tuple[Sequence[Record], PointId | None]], scroll: Scroll) -> Page:
    """The first `limit` records of all shards."""
    if len(parts) == 1:
        return Page(*parts[0])
    ranked = sorted(
        itertools.chain(*(records for records, _ in parts)), key=lambda record: id_order(record.id)
    )
    left = [record.id for record in ranked[scroll.limit :]]
    left += [following for _, following in parts if following is not None]
    return Page(ranked[: scroll.limit], min(left, key=id_order, default=None))


def most_frequent(parts: Iterable[Iterable[edge.FacetHit]], facet: Facet) -> list[tuple[FacetValue, int]]:
    """Values with their counts over all shards, ordered by descending count and then by value."""
    counts: Counter[FacetValue] = Counter()
    for hits in parts:
        for hit in hits:
            counts[hit.value] += hit.count
    # Edge also lists the values of deleted points, with a count of 0.
    present = [(value, count) for value, count in counts.items() if count]
    return sorted(present, key=lambda entry: (-entry[1], _value_order(entry[0])))[: facet.limit]


def _value_order(value: FacetValue) -> tuple[float, str]:
    """Sort key. All values of one field index are strings, or all are numbers."""
    return (0, value) if isinstance(value, str) else (value, "")


def in_order(ids: Iterable[PointId], found: Mapping[PointId, _T]) -> list[_T]:
    """The records found, each once, in the order of `ids`."""
    return [found[point] for point in dict.fromkeys(ids) if point in found]


def by_shard(items: Iterable[_T], shards: int, identity: Callable[[_T], PointId]) -> dict[int, list[_T]]:
    """The items grouped by shard number, in their original order; shards without items are left out."""
    parts: dict[int, list[_T]] = {}
    for item in items:
        parts.setdefault(shard_of(identity(item), shards), []).append(item)
    return parts
