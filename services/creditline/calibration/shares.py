"""Shares: what each listed work and each contributor is credited with, and what remains for all others.

A work's part is the positive part of its *expected* influence, so that noise earns nothing. Works of one
duplicate group are listed once; shares and the remainder sum to 1.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property


@dataclass(frozen=True)
class ScoredWork:
    """A work that was found for a query.

    `score` is its cosine with the query, `expected_influence` what the calibration makes of it.
    """

    work_id: str
    contributor: str
    duplicate_group: str
    score: float
    expected_influence: float

    @property
    def part(self) -> float:
        """What counts towards credit: the positive part of the expected influence."""
        return max(self.expected_influence, 0.0)


@dataclass(frozen=True)
class Group:
    """The found works of one duplicate group, best score first: they share one credit."""

    members: tuple[ScoredWork, ...]

    @property
    def best(self) -> ScoredWork:
        """The member under which the group is listed."""
        return self.members[0]

    @cached_property
    def part(self) -> float:
        return sum(member.part for member in self.members)


@dataclass(frozen=True)
class WorkShare:
    """A listed work. `share` is of all its copies together; `rank` 1 is the largest share."""

    work: ScoredWork
    share: float
    rank: int
    copies: tuple[str, ...]


@dataclass(frozen=True)
class ContributorShare:
    """A contributor's sum over the listed works (copies included); `works` counts them."""

    name: str
    share: float
    works: int


@dataclass(frozen=True)
class CreditLine:
    """Listed works by rank, their contributors by share, and the share of everything else."""

    works: tuple[WorkShare, ...]
    contributors: tuple[ContributorShare, ...]
    remainder: float


def duplicate_groups(found: Sequence[ScoredWork]) -> tuple[Group, ...]:
    """Join found works by duplicate group; the group with the largest part first, then the best score."""
    members: dict[str, list[ScoredWork]] = defaultdict(list)
    for work in found:
        members[work.duplicate_group].append(work)
    groups = [Group(tuple(sorted(works, key=_best_first))) for works in members.values()]
    return tuple(sorted(groups, key=lambda group: (-group.part, *_best_first(group.best))))


def _best_first(work: ScoredWork) -> tuple[float, str]:
    return -work.score, work.work_id


def credit_line(listed: Sequence[Group], others_influence: float) -> CreditLine:
    """Share the credit between the listed groups and all other works.

    others_influence: sum of the expected positive influence of all works that are not listed.
    Where nobody has any, all shares are 0 and the remainder is 1.
    """
    others = max(others_influence, 0.0)
    total = sum(group.part for group in listed) + others
    works = tuple(
        WorkShare(
            group.best, _portion(group.part, total), rank, tuple(copy.work_id for copy in group.members[1:])
        )
        for rank, group in enumerate(listed, start=1)
    )
    remainder = others / total if total > 0.0 else 1.0
    return CreditLine(works, _contributors(listed, total), remainder)


def _portion(part: float, total: float) -> float:
    return part / total if total > 0.0 else 0.0


def _contributors(listed: Sequence[Group], total: float) -> tuple[ContributorShare, ...]:
    """Each member's own part goes to its own contributor, also within a group."""
    parts: dict[str, float] = defaultdict(float)
    works: dict[str, int] = defaultdict(int)
    for member in (member for group in listed for member in group.members):
        parts[member.contributor] += member.part
        works[member.contributor] += 1
    by_part = sorted(parts, key=lambda name: (-parts[name], name))
    return tuple(ContributorShare(name, _portion(parts[name], total), works[name]) for name in by_part)
