"""The influence of all works that are not listed, from their calibrated scores or those of a sample."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from creditline.calibration.curve import Calibration

# Above this, a query's cosines with all works would cost more than the search itself.
SAMPLE_SIZE = 65_536


@dataclass(frozen=True)
class Earned:
    """What a contributor's works that are not listed are expected to hold, and its standard error.

    The error is the sample's: 0 where every work was looked at.
    """

    influence: float
    error: float = 0.0


@dataclass(frozen=True)
class Others:
    """All works that are not listed.

    influence: sum of their expected positive influence. Which of them hold it cannot be told, and none is
    credited with it; that together they do is known. squares: sum of its squares. works: how many they are.
    earned: by contributor, the sum of the positive part of what is *expected* of each work, so that likeness
    which says nothing earns nothing.
    """

    influence: float
    squares: float = 0.0
    works: int = 0
    earned: Mapping[str, Earned] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Withheld:
    """Who is credited with nothing although they hold influence: what was withdrawn.

    rows: (R,) rows of a sample; people: contributors who are not named at all.
    """

    rows: NDArray[np.intp]
    people: frozenset[str]


NOBODY_WITHHELD = Withheld(np.empty(0, dtype=np.intp), frozenset())


@dataclass(frozen=True, eq=False)
class CorpusSample:
    """The vectors of all works, or of a uniform sample of them.

    vectors: (M, D) float32, unit rows; row i belongs to `work_ids[i]`, which is `contributors[i]`'s;
    `population` is the number N of works.
    """

    work_ids: tuple[str, ...]
    contributors: tuple[str, ...]
    vectors: NDArray[np.float32]
    population: int

    @classmethod
    def draw(
        cls,
        work_ids: Sequence[str],
        contributors: Sequence[str],
        vectors: NDArray[np.float32],
        *,
        seed: int,
        size: int = SAMPLE_SIZE,
    ) -> CorpusSample:
        """All rows of `vectors` (N, D), or, above `size`, as many of them, uniformly by `seed`."""
        population = len(work_ids)
        if population <= size:
            return cls(tuple(work_ids), tuple(contributors), vectors, population)
        rows = np.sort(np.random.default_rng(seed).choice(population, size, replace=False))
        ids, names = (tuple(every[row] for row in rows) for every in (work_ids, contributors))
        return cls(ids, names, vectors[rows], population)

    @cached_property
    def _row_of(self) -> dict[str, int]:
        return {work_id: row for row, work_id in enumerate(self.work_ids)}

    @cached_property
    def _number_of(self) -> dict[str, int]:
        return {name: number for number, name in enumerate(dict.fromkeys(self.contributors))}

    @cached_property
    def _people(self) -> tuple[tuple[str, ...], NDArray[np.intp]]:
        """Contributors' names, and the number of each sampled work's: (M,)."""
        numbers = [self._number_of[name] for name in self.contributors]
        return tuple(self._number_of), np.array(numbers, dtype=np.intp)

    def withheld(self, works: Collection[str], people: Collection[str]) -> Withheld:
        """The rows of these works and of all works of these people."""
        rows = [
            row
            for row, (work_id, name) in enumerate(zip(self.work_ids, self.contributors, strict=True))
            if work_id in works or name in people
        ]
        return Withheld(np.array(rows, dtype=np.intp), frozenset(people))

    def others(
        self,
        query: NDArray[np.float32],
        calibration: Calibration,
        listed: Mapping[str, str],
        withheld: Withheld = NOBODY_WITHHELD,
    ) -> Others:
        """What all works but the listed ones hold of a query's influence.

        query: (D,) float32 unit vector; listed: works' ids and their contributors. What is withheld counts
        here like all that is not listed, and nobody is credited with it. The sampled works that
        are not listed stand for all that are not listed, so a listed work is never counted twice (Horvitz
        and Thompson's estimate, all works being sampled with one probability).
        """
        cosines = self.vectors @ query
        rows = [self._row_of[work_id] for work_id in listed if work_id in self._row_of]
        stand_for = _StandFor(len(self.work_ids) - len(rows), self.population - len(listed))
        if stand_for.sampled == 0:
            return Others(0.0)
        positive = calibration.expected_positive(cosines)
        earned = np.maximum(calibration.expected_influence(cosines), 0.0)
        for parts in (positive, earned):
            parts[rows] = 0.0
        earned[withheld.rows] = 0.0
        return Others(
            float(positive.sum()) * stand_for.each,
            float(np.square(positive).sum()) * stand_for.each,
            stand_for.works,
            self._earned(earned, stand_for, listed, withheld.people),
        )

    def _earned(
        self,
        parts: NDArray[np.float64],
        stand_for: _StandFor,
        listed: Mapping[str, str],
        unnamed: frozenset[str],
    ) -> dict[str, Earned]:
        """Sums of all who have a listed work, and of as many of the largest besides as works are listed.

        parts: (M,).
        """
        names, numbers = self._people
        sums, squares = (
            np.bincount(numbers, weights=values, minlength=len(names)) for values in (parts, np.square(parts))
        )
        most = min(len(listed), len(names))
        largest = np.argpartition(-sums, most - 1)[:most] if most else np.empty(0, dtype=np.intp)
        wanted = ({names[number] for number in largest} | set(listed.values())) - unnamed
        people = [number for name in sorted(wanted) if (number := self._number_of.get(name)) is not None]
        return {names[number]: stand_for.sum_of(sums[number], squares[number]) for number in people}


@dataclass(frozen=True)
class _StandFor:
    """How many sampled works stand for how many."""

    sampled: int
    works: int

    @property
    def each(self) -> float:
        return self.works / self.sampled

    def sum_of(self, total: float, squares: float) -> Earned:
        """The sum over all works, from a sum over the sampled ones and that of its squares."""
        variance = max(squares - total * total / self.sampled, 0.0) / max(self.sampled - 1, 1)
        unseen = 1.0 - self.sampled / self.works
        return Earned(float(total) * self.each, self.works * math.sqrt(variance * unseen / self.sampled))
