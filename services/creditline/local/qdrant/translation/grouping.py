"""Queries for groups, which Qdrant Edge lacks: they are composed of several plain queries.

A group ranks by its best point, so the first `limit` groups in a ranked list of points are the right ones.
Further queries complete the first list: one that excludes the known groups finds more groups, and one for a
single group finds more of its points. The result is as exact as the queries are.
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
# Runs several searches over the whole collection; one list of points per search, best first.
RunSearches = Callable[[Sequence[Search]], Sequence[Sequence[ScoredPoint]]]


@dataclass(frozen=True)
class Group:
    """Points that share a value of a payload field."""

    key: GroupKey
    """The shared value."""
    points: list[ScoredPoint] = field(default_factory=list)
    """The best points, best first. Their payload holds only the field that they are grouped by."""


def find_groups(query: GroupSearch, run: RunSearches) -> list[Group]:
    """The best groups, best first.

    Args:
        query: the query for groups.
        run: runs searches over the whole collection.
    """
    groups: dict[GroupKey, Group] = {}
    key_search = _key_search(query)
    fetched = query.search.limit * query.group_size
    while len(groups) < query.search.limit:
        known = len(groups)
        search = replace(
            key_search, limit=fetched, filter=both(key_search.filter, *_unseen(query.group_by, groups))
        )
        (points,) = run([search])
        _add(groups, points, query)
        if len(points) < fetched:
            break
        if len(groups) == known:
            fetched *= 2  # none of these points has a value that forms a new group
    chosen = list(groups.values())[: query.search.limit]
    return _filled(chosen, query, run)


def _key_search(query: GroupSearch) -> Search:
    """The search restricted to points that have the `group_by` field, and to that field as payload."""
    name = query.group_by.removesuffix("[]")
    has_one = edge.Filter(must_not=[edge.IsEmptyCondition(query.group_by)])
    return replace(
        query.search,
        filter=both(query.search.filter, has_one),
        with_payload=edge.PayloadSelector.Include([name]),
        with_vector=False,
    )


def _unseen(path: str, groups: dict[GroupKey, Group]) -> Iterator[edge.FieldCondition]:
    """Conditions that exclude the points of known groups."""
    texts = [key for key in groups if isinstance(key, str)]
    numbers = [key for key in groups if isinstance(key, int)]
    for known in (texts, numbers):
        if known:
            yield edge.FieldCondition(path, match=edge.MatchExcept(known))


def _filled(chosen: list[Group], query: GroupSearch, run: RunSearches) -> list[Group]:
    """The groups, each completed to `group_size` points where it has as many."""
    short = [group for group in chosen if len(group.points) < query.group_size]
    key_search = _key_search(query)
    searches = [
        replace(
            key_search,
            limit=query.group_size,
            filter=both(
                key_search.filter, edge.FieldCondition(query.group_by, match=edge.MatchValue(group.key))
            ),
        )
        for group in short
    ]
    found = run(searches) if searches else []
    full = {group.key: Group(group.key, list(points)) for group, points in zip(short, found, strict=True)}
    return [full.get(group.key, group) for group in chosen]


def _add(groups: dict[GroupKey, Group], points: Sequence[ScoredPoint], query: GroupSearch) -> None:
    for point in points:
        for key in _keys(point.payload or {}, query.group_by):
            members = groups.setdefault(key, Group(key)).points
            if len(members) < query.group_size:
                members.append(point)


def _keys(payload: Payload, path: str) -> list[GroupKey]:
    """The distinct strings and integers at a path; a point with several belongs to several groups.

    As on a server, a point with any other kind of value at the path belongs to no group.
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
