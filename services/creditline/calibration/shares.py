"""Shares: what each listed work and each contributor is credited with, and what remains for all others.

A work's part is the positive part of its *expected* influence, so that noise earns nothing. Works of one
duplicate group are listed once; shares and the remainder sum to 1.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from creditline.calibration.concentration import above_even, equal_parts
from creditline.calibration.remainder import Earned, Others


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
    """A contributor's sum over all their works in the corpus; `works` of them are listed (copies included).

    listed: what those have of it.
    error: the share's standard error where the corpus was sampled, 0 where every work was looked at.
    """

    name: str
    share: float
    works: int
    listed: float
    error: float = 0.0


@dataclass(frozen=True)
class CreditLine:
    """How the influence on one query is shared."""

    works: tuple[WorkShare, ...]
    """Listed works by rank."""
    contributors: tuple[ContributorShare, ...]
    """Credited contributors, the largest share first."""
    remainder: float
    """Share of all works that are not listed; with the listed works' shares it sums to 1."""
    concentration: float
    """0 where all works of the corpus have the same part, 1 where one work has it all."""
    population: int
    """Number of works that share the influence, listed or not."""

    @property
    def equal_parts(self) -> float:
        """The number of works that would be as concentrated if they had equal parts."""
        return equal_parts(self.concentration, self.population)


def duplicate_groups(found: Sequence[ScoredWork]) -> tuple[Group, ...]:
    """Join found works by duplicate group; the group with the largest part first, then the best score."""
    members: dict[str, list[ScoredWork]] = defaultdict(list)
    for work in found:
        members[work.duplicate_group].append(work)
    groups = [Group(tuple(sorted(works, key=_best_first))) for works in members.values()]
    return tuple(sorted(groups, key=lambda group: (-group.part, *_best_first(group.best))))


def _best_first(work: ScoredWork) -> tuple[float, str]:
    return -work.score, work.work_id


def credit_line(listed: Sequence[Group], others: Others) -> CreditLine:
    """Share the credit between the listed groups and all other works.

    Without any positive influence all shares are 0 and the remainder is 1.
    """
    total = sum(group.part for group in listed) + others.influence
    population = sum(len(group.members) for group in listed) + others.works
    works = tuple(
        WorkShare(
            group.best, _portion(group.part, total), rank, tuple(copy.work_id for copy in group.members[1:])
        )
        for rank, group in enumerate(listed, start=1)
    )
    remainder = others.influence / total if total > 0.0 else 1.0
    return CreditLine(
        works,
        _contributors(listed, others, total),
        remainder,
        _concentration(listed, others, total, population),
        population,
    )


def _portion(part: float, total: float) -> float:
    return part / total if total > 0.0 else 0.0


def _contributors(listed: Sequence[Group], others: Others, total: float) -> tuple[ContributorShare, ...]:
    """Everybody with a listed work, and as many of the largest besides as there are lines.

    Each member's own part goes to its own contributor, also within a group.
    """
    works = Counter(member.contributor for group in listed for member in group.members)
    on_list: dict[str, float] = defaultdict(float)
    for member in (member for group in listed for member in group.members):
        on_list[member.contributor] += member.part
    beyond = {name: earned.influence for name, earned in others.earned.items()}
    parts = {name: on_list.get(name, 0.0) + beyond.get(name, 0.0) for name in {**beyond, **on_list}}
    by_part = sorted(parts, key=lambda name: (-parts[name], name))
    shown = [name for place, name in enumerate(by_part) if place < len(listed) or name in works]
    nothing = Earned(0.0)
    return tuple(
        ContributorShare(
            name,
            _portion(parts[name], total),
            works[name],
            _portion(on_list.get(name, 0.0), total),
            _portion(others.earned.get(name, nothing).error, total),
        )
        for name in shown
    )


def _concentration(listed: Sequence[Group], others: Others, total: float, population: int) -> float:
    if total <= 0.0:
        return 0.0
    members = [member.part for group in listed for member in group.members]
    squares = sum((part / total) ** 2 for part in members) + others.squares / total / total
    return above_even(squares, population)
