"""Answers of several shards as the answer of one collection."""

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

# 2^64 divided by the golden ratio: consecutive numbers fall on all shards in turn.
_SPREAD = 0x9E3779B97F4A7C15
_WORD = (1 << 64) - 1
_T = TypeVar("_T")


@dataclass(frozen=True)
class Page:
    """Records in the order of their ids, and where the next page begins."""

    records: Sequence[Record]
    following: PointId | None


def shard_of(point: PointId, shards: int) -> int:
    """Which shard holds a point; the same for ever, or points would be in two."""
    number = point if isinstance(point, int) else point.int & _WORD
    return ((number * _SPREAD & _WORD) >> 32) * shards >> 32


def best(
    parts: Sequence[Sequence[ScoredPoint]], search: Search, *, smaller_is_better: bool
) -> Sequence[ScoredPoint]:
    """The points that one shard with all of them would have found; equal scores in the order of their ids."""
    if len(parts) == 1:
        return parts[0][search.offset :]
    sign = 1 if smaller_is_better else -1
    ranked = sorted(itertools.chain(*parts), key=lambda point: (sign * point.score, id_order(point.id)))
    return ranked[search.offset : search.offset + search.limit]


def page(parts: Sequence[tuple[Sequence[Record], PointId | None]], scroll: Scroll) -> Page:
    """The first `limit` of all records."""
    if len(parts) == 1:
        return Page(*parts[0])
    ranked = sorted(
        itertools.chain(*(records for records, _ in parts)), key=lambda record: id_order(record.id)
    )
    left = [record.id for record in ranked[scroll.limit :]]
    left += [following for _, following in parts if following is not None]
    return Page(ranked[: scroll.limit], min(left, key=id_order, default=None))


def most_frequent(parts: Iterable[Iterable[edge.FacetHit]], facet: Facet) -> list[tuple[FacetValue, int]]:
    """Values with their counts over all shards: most points first, then in the order of the values."""
    counts: Counter[FacetValue] = Counter()
    for hits in parts:
        for hit in hits:
            counts[hit.value] += hit.count
    # Edge lists the values of deleted points too, with no points.
    found = [(value, count) for value, count in counts.items() if count]
    return sorted(found, key=lambda entry: (-entry[1], _value_order(entry[0])))[: facet.limit]


def _value_order(value: FacetValue) -> tuple[float, str]:
    """The values of one field index are all texts or all numbers."""
    return (0, value) if isinstance(value, str) else (value, "")


def in_order(ids: Iterable[PointId], found: Mapping[PointId, _T]) -> list[_T]:
    """The records of those of `ids` that were found, each once."""
    return [found[point] for point in dict.fromkeys(ids) if point in found]


def by_shard(items: Iterable[_T], shards: int, identity: Callable[[_T], PointId]) -> dict[int, list[_T]]:
    """The items of each shard that has any, in their order."""
    parts: dict[int, list[_T]] = {}
    for item in items:
        parts.setdefault(shard_of(identity(item), shards), []).append(item)
    return parts
