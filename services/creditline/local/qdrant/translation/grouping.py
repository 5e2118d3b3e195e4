"""Queries for groups: Qdrant Edge has none, so they are put together from several plain ones.

A group's place is that of its best point, so the first `limit` groups that a ranked list of points shows are
the right ones. What the first list leaves open is asked for: more groups by excluding those that are known,
more points of a group by asking for that group alone. The answer is as exact as the queries are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import qdrant_edge as edge

from creditline.local.qdrant.translation.edge_types import ScoredPoint
from creditline.local.qdrant.translation.filters import both
from creditline.local.qdrant.translation.queries import GroupSearch, Search
from creditline.local.qdrant.translation.values import Payload, PayloadValue

GroupKey = str | int
RunSearches = Callable[[Sequence[Search]], Sequence[Sequence[ScoredPoint]]]


@dataclass(frozen=True)
class Group:
    """The best points that share a value, best first; of their payload they have that field only."""

    key: GroupKey
    points: list[ScoredPoint] = field(default_factory=list)


def find_groups(wanted: GroupSearch, run: RunSearches) -> list[Group]:
    """The best groups, best first."""
    groups: dict[GroupKey, Group] = {}
    bare = _bare(wanted)
    ahead = wanted.search.limit * wanted.group_size
    while len(groups) < wanted.search.limit:
        known = len(groups)
        search = replace(bare, limit=ahead, filter=both(bare.filter, *_unseen(wanted.group_by, groups)))
        (points,) = run([search])
        _add(groups, points, wanted)
        if len(points) < ahead:
            break
        if len(groups) == known:
            ahead *= 2  # these points have no value that makes a group
    chosen = list(groups.values())[: wanted.search.limit]
    return _filled(chosen, wanted, run)


def _bare(wanted: GroupSearch) -> Search:
    """The search with the field to group by as its only payload, for points that have one."""
    name = wanted.group_by.removesuffix("[]")
    has_one = edge.Filter(must_not=[edge.IsEmptyCondition(wanted.group_by)])
    return replace(
        wanted.search,
        filter=both(wanted.search.filter, has_one),
        with_payload=edge.PayloadSelector.Include([name]),
        with_vector=False,
    )


def _unseen(path: str, groups: dict[GroupKey, Group]) -> Iterator[edge.FieldCondition]:
    """Conditions that a point outside of all known groups passes."""
    texts = [key for key in groups if isinstance(key, str)]
    numbers = [key for key in groups if isinstance(key, int)]
    for known in (texts, numbers):
        if known:
            yield edge.FieldCondition(path, match=edge.MatchExcept(known))


def _filled(chosen: list[Group], wanted: GroupSearch, run: RunSearches) -> list[Group]:
    """The groups, each with all the points that it may have."""
    short = [group for group in chosen if len(group.points) < wanted.group_size]
    bare = _bare(wanted)
    searches = [
        replace(
            bare,
            limit=wanted.group_size,
            filter=both(bare.filter, edge.FieldCondition(wanted.group_by, match=edge.MatchValue(group.key))),
        )
        for group in short
    ]
    found = run(searches) if searches else []
    full = {group.key: Group(group.key, list(points)) for group, points in zip(short, found, strict=True)}
    return [full.get(group.key, group) for group in chosen]


def _add(groups: dict[GroupKey, Group], points: Sequence[ScoredPoint], wanted: GroupSearch) -> None:
    for point in points:
        for key in _keys(point.payload or {}, wanted.group_by):
            members = groups.setdefault(key, Group(key)).points
            if len(members) < wanted.group_size:
                members.append(point)


def _keys(payload: Payload, path: str) -> list[GroupKey]:
    """The texts and whole numbers at a path, each once; a point with several is in several groups.

    As on a server, a point with any other kind of value there is in no group.
    """
    keys: dict[GroupKey, None] = {}
    for value in _values(payload, path.replace("[]", "").split(".")):
        if isinstance(value, bool) or not isinstance(value, str | int):
            return []
        keys[value] = None
    return list(keys)


def _values(payload: PayloadValue, path: list[str]) -> Iterator[PayloadValue]:
    if isinstance(payload, list):
        for item in payload:
            yield from _values(item, path)
    elif not path:
        yield payload
    elif isinstance(payload, dict) and path[0] in payload:
        yield from _values(payload[path[0]], path[1:])
