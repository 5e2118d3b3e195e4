"""Shares: the credit of each listed work and each contributor, and the remainder for all other works.

The part of a work is the positive part of its *expected* influence, so noise earns nothing. The works of a
duplicate group are listed once; shares and the remainder sum to 1.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from creditline.calibration.concentration import above_even, equal_parts
from creditline.calibration.holders import Holders
from creditline.calibration.remainder import ContributorInfluence, UnlistedInfluence


@dataclass(frozen=True)
class ScoredWork:
    """A work that the search found for a query."""

    work_id: str
    """Id of the work."""
    holders: Holders
    """The people among whom the credit of the work is divided."""
    duplicate_group: str
    """Group of copies and near copies that the work belongs to."""
    score: float
    """Cosine of the work's vector with the query's."""
    expected_influence: float
    """Influence that the calibration expects."""
    kernel_score: float | None = None
    """Score of the gradient kernel, where the work was re-ranked by it."""
    order: float | None = None
    """By what it is ordered, and its influence calibrated, instead of `score`; None: by that."""

    @property
    def part(self) -> float:
        """The positive part of the expected influence, which counts towards credit."""
        return max(self.expected_influence, 0.0)


@dataclass(frozen=True)
class Group:
    """The found works of one duplicate group, which share one credit."""

    members: tuple[ScoredWork, ...]
    """The works, best first."""

    @property
    def best(self) -> ScoredWork:
        """The member under which the group is listed."""
        return self.members[0]

    @property
    def part(self) -> float:
        """Sum of the members' parts."""
        members = self.members
        return members[0].part if len(members) == 1 else sum(member.part for member in members)


@dataclass(frozen=True)
class WorkShare:
    """A listed work with its share."""

    work: ScoredWork
    """The member of its duplicate group with the best score."""
    share: float
    """Share of the whole duplicate group."""
    rank: int
    """Rank from 1, which is the largest share."""
    copies: tuple[str, ...]
    """Ids of the other works of the duplicate group that were found."""


@dataclass(frozen=True)
class ContributorShare:
    """A contributor with their share."""

    name: str
    """Name of the contributor."""
    share: float
    """Share of all works in the corpus, as far as their credit is the contributor's."""
    works: int
    """Number of listed works of whose credit the contributor has a part, copies included."""
    listed: float
    """Share of the listed works alone."""
    error: float = 0.0
    """Standard error of the share where the corpus was sampled; 0 where all works were computed."""


@dataclass(frozen=True)
class CreditLine:
    """The shares of the influence on one query."""

    works: tuple[WorkShare, ...]
    """Listed works, in order of rank."""
    contributors: tuple[ContributorShare, ...]
    """Credited contributors, the largest share first."""
    remainder: float
    """Share of all works that are not listed; with the listed works' shares it sums to 1."""
    concentration: float
    """Concentration of the influence: 0 where all works have the same part, 1 where one has all."""
    population: int
    """Number of works that share the influence, listed or not."""

    @property
    def equal_parts(self) -> float:
        """The number of works with equal parts that gives the same concentration."""
        return equal_parts(self.concentration, self.population)


def duplicate_groups(found: Sequence[ScoredWork]) -> tuple[Group, ...]:
    """Found works grouped by duplicate group, sorted by part (largest first), then by best score."""
    members: dict[str, list[ScoredWork]] = defaultdict(list)
    for work in found:
        members[work.duplicate_group].append(work)
    groups = [Group(tuple(sorted(works, key=_best_first))) for works in members.values()]
    return tuple(sorted(groups, key=_largest_first))


def _best_first(work: ScoredWork) -> tuple[float, str]:
    return -(work.score if work.order is None else work.order), work.work_id


def _largest_first(group: Group) -> tuple[float, float, str]:
    return -group.part, *_best_first(group.best)


def credit_line(listed: Sequence[Group], others: UnlistedInfluence) -> CreditLine:
    """Divide the credit among the listed groups and all other works.

    Where no work has positive influence, all shares are 0 and the remainder is 1.

    Args:
        listed: The listed duplicate groups, by rank.
        others: The influence of all other works.
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


def _contributors(
    listed: Sequence[Group], others: UnlistedInfluence, total: float
) -> tuple[ContributorShare, ...]:
    """All contributors with a part of a listed work, and the largest others, up to one per listed group.

    Within a duplicate group, too, the part of each member goes to its own holders.
    """
    works: Counter[str] = Counter()
    on_list: dict[str, float] = defaultdict(float)
    for member in (member for group in listed for member in group.members):
        for name, fraction in member.holders:
            works[name] += 1
            on_list[name] += member.part * fraction
    beyond = {name: earned.influence for name, earned in others.earned.items()}
    parts = {name: on_list.get(name, 0.0) + beyond.get(name, 0.0) for name in {**beyond, **on_list}}
    by_part = sorted(parts, key=lambda name: (-parts[name], name))
    shown = [name for place, name in enumerate(by_part) if place < len(listed) or name in works]
    nothing = ContributorInfluence(0.0)
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


def _concentration(
    listed: Sequence[Group], others: UnlistedInfluence, total: float, population: int
) -> float:
    if total <= 0.0:
        return 0.0
    members = [member.part for group in listed for member in group.members]
    squares = sum((part / total) ** 2 for part in members) + others.squares / total / total
    return above_even(squares, population)
