"""The remainder: the influence of all works that are not listed, from the scores of all works or a sample."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from creditline.calibration.curve import Calibration
from creditline.calibration.holders import Division, Holders, of_people

# Largest sample of works; computing cosines with more works would take longer than the search itself.
SAMPLE_SIZE = 65_536


@dataclass(frozen=True)
class ContributorInfluence:
    """The expected influence of a contributor's works that are not listed."""

    influence: float
    """Sum of the expected influence of these works, negative values counted as 0."""
    error: float = 0.0
    """Standard error of `influence` from sampling; 0 where all works were computed."""


@dataclass(frozen=True)
class UnlistedInfluence:
    """The influence of all works that are not listed."""

    influence: float
    """Sum of their expected positive influence. It is an estimate for all of these works together, not for
    single works, so no work is credited with it."""
    squares: float = 0.0
    """Sum of the squares of their expected positive influence."""
    works: int = 0
    """Number of works that are not listed."""
    earned: Mapping[str, ContributorInfluence] = field(default_factory=dict)
    """By contributor, the sum of their parts of the works' *expected* influence where it is positive: a work
    whose expected influence is not positive earns nothing."""


@dataclass(frozen=True, eq=False)
class Withheld:
    """Withdrawn works and contributors: their influence counts in the remainder and is credited to no one."""

    rows: NDArray[np.intp]
    """(R,) rows of the withdrawn works in a sample."""
    people: frozenset[str]
    """Withdrawn people, who are not named in any answer."""


NOTHING_WITHHELD = Withheld(np.empty(0, dtype=np.intp), frozenset())


@dataclass(frozen=True, eq=False)
class CorpusSample:
    """The vectors of all works of a release, or of a uniform sample of them."""

    work_ids: tuple[str, ...]
    """(M,) ids of the sampled works."""
    holders: tuple[Holders, ...]
    """(M,) the people among whom the credit of each sampled work is divided, by any keys that are one for
    each person."""
    vectors: NDArray[np.float32]
    """(M, D) float32, L2-normalised rows, in the order of `work_ids`."""
    population: int
    """Number of works N of the release."""

    @classmethod
    def draw(
        cls,
        work_ids: Sequence[str],
        holders: Sequence[Holders],
        vectors: NDArray[np.float32],
        *,
        seed: int,
        size: int = SAMPLE_SIZE,
    ) -> CorpusSample:
        """All works, or a uniform sample of them where there are more than `size`.

        Args:
            work_ids: (N,) ids of the works.
            holders: (N,) the people among whom the credit of each work is divided.
            vectors: (N, D) float32, L2-normalised rows.
            seed: Seed of the sample.
            size: Largest number of works in the sample.
        """
        population = len(work_ids)
        if population <= size:
            return cls(tuple(work_ids), tuple(holders), vectors, population)
        rows = np.sort(np.random.default_rng(seed).choice(population, size, replace=False))
        return cls(
            tuple(work_ids[row] for row in rows),
            tuple(holders[row] for row in rows),
            vectors[rows],
            population,
        )

    def with_added(self, added: CorpusSample, *, seed: int) -> CorpusSample:
        """A sample of a release and of works that were added to it since.

        Every work of the union has the same probability to be in it, so the larger of the two samples is
        thinned out to the rate of the other.

        Args:
            added: Uniform sample of the added works.
            seed: Seed of the thinning.
        """
        if not added.population:
            return self
        rate, rng = min(self._rate, added._rate), np.random.default_rng(seed)
        parts = [part._thinned(rate, rng) for part in (self, added)]
        return CorpusSample(
            tuple(work_id for part in parts for work_id in part.work_ids),
            tuple(holders for part in parts for holders in part.holders),
            np.concatenate([part.vectors for part in parts]),
            self.population + added.population,
        )

    @property
    def _rate(self) -> float:
        return len(self.work_ids) / max(self.population, 1)

    def _thinned(self, rate: float, rng: np.random.Generator) -> CorpusSample:
        """A uniform part of the sample in which a work is with the probability `rate`."""
        size = min(max(round(rate * self.population), 1), len(self.work_ids))
        if size == len(self.work_ids):
            return self
        rows = np.sort(rng.choice(len(self.work_ids), size, replace=False))
        return CorpusSample(
            tuple(self.work_ids[row] for row in rows),
            tuple(self.holders[row] for row in rows),
            self.vectors[rows],
            self.population,
        )

    @cached_property
    def _row_of(self) -> dict[str, int]:
        return {work_id: row for row, work_id in enumerate(self.work_ids)}

    @cached_property
    def _division(self) -> Division:
        return Division.of(self.holders)

    def of_people(self, person: Callable[[str], str]) -> CorpusSample:
        """The same sample with another key for each person, such as one for two merged people."""
        return replace(self, holders=of_people(self.holders, person))

    def withheld(self, works: Collection[str], people: Collection[str]) -> Withheld:
        """The sampled rows of the given works and of all works that one of the given people holds."""
        unnamed = frozenset(people)
        rows = {row for row, each in enumerate(self.holders) for person, _ in each if person in unnamed}
        rows |= {row for row, work_id in enumerate(self.work_ids) if work_id in works}
        return Withheld(np.array(sorted(rows), dtype=np.intp), unnamed)

    def others(
        self,
        query: NDArray[np.float32],
        calibration: Calibration,
        listed: Mapping[str, Holders],
        withheld: Withheld = NOTHING_WITHHELD,
        *,
        works: int | None = None,
        cosines: NDArray[np.float32] | None = None,
    ) -> UnlistedInfluence:
        """Estimate the influence of all works that are not listed on a query.

        The sampled works that are not listed represent all works of the build that are not listed, so a
        listed work is never counted twice (Horvitz-Thompson estimator with equal inclusion probabilities).
        Works of the build that are not in the release are assumed to be like those of the release; their
        contributors are unknown, so no one is credited with them.

        Args:
            query: (D,) float32, L2-normalised.
            calibration: Curves from cosine to expected influence.
            listed: Holders of the listed works, by work id; the works need not be in the release.
            withheld: Withdrawn works and contributors: their influence is counted, but credited to no one.
            works: Number of works in the build that answers, including the listed ones; None: the number of
                works in the release.
            cosines: (M,) float32, of the query with the sampled works; None: they are computed.
        """
        if cosines is None:
            cosines = self.vectors @ query
        rows, sampled, unlisted = self._unlisted(listed, works)
        if unlisted == 0:
            return UnlistedInfluence(0.0)
        if sampled == 0:
            return _upper_bound(calibration.expected_positive(cosines), unlisted)
        positive = calibration.expected_positive(cosines)
        earned = np.maximum(calibration.expected_influence(cosines), 0.0)
        for parts in (positive, earned):
            parts[rows] = 0.0
        earned[withheld.rows] = 0.0
        expansion = _Expansion(sampled, unlisted)
        known = max(self.population - len(listed), sampled)
        return UnlistedInfluence(
            float(positive.sum()) * expansion.factor,
            float(np.square(positive).sum()) * expansion.factor,
            unlisted,
            self._earned(earned, _Expansion(sampled, min(known, unlisted)), listed, withheld.people),
        )

    def others_influence(
        self,
        query: NDArray[np.float32],
        calibration: Calibration,
        listed: Collection[str],
        *,
        works: int | None = None,
        cosines: NDArray[np.float32] | None = None,
    ) -> float:
        """The total influence that `others` estimates, without its division among contributors.

        Args:
            query: (D,) float32, L2-normalised.
            calibration: Curves from cosine to expected influence.
            listed: Ids of the listed works.
            works: Number of works in the build that answers; None: the number of works in the release.
            cosines: (M,) float32, of the query with the sampled works; None: they are computed.
        """
        rows, sampled, unlisted = self._unlisted(listed, works)
        if unlisted == 0:
            return 0.0
        positive = calibration.expected_positive(self.vectors @ query if cosines is None else cosines)
        if sampled == 0:
            return _upper_bound(positive, unlisted).influence
        positive[rows] = 0.0
        return float(positive.sum()) * _Expansion(sampled, unlisted).factor

    def vectors_of(self, work_ids: Collection[str]) -> dict[str, NDArray[np.float32]]:
        """Vectors of the given works, as far as they are in the sample, by work id."""
        return {
            work_id: self.vectors[self._row_of[work_id]] for work_id in work_ids if work_id in self._row_of
        }

    def _unlisted(self, listed: Collection[str], works: int | None) -> tuple[list[int], int, int]:
        """Sampled rows of the listed works, and the numbers of sampled and of all works beside them."""
        rows = [self._row_of[work_id] for work_id in listed if work_id in self._row_of]
        unlisted = max((self.population if works is None else works) - len(listed), 0)
        return rows, len(self.work_ids) - len(rows), unlisted

    def _earned(
        self,
        parts: NDArray[np.float64],
        expansion: _Expansion,
        listed: Mapping[str, Holders],
        unnamed: frozenset[str],
    ) -> dict[str, ContributorInfluence]:
        """Sums of the people with a part of a listed work, and of the largest people, one per listed work.

        The part of a work that a person holds is one observation of the sample, so the standard error of a
        sum follows from the sums of these parts and of their squares.

        Args:
            parts: (M,) expected influence of the sampled works, 0 for listed and withheld ones.
            expansion: From the sampled works to all works of known contributors.
            listed: Holders of the listed works, by work id.
            unnamed: Contributors who must not be named.
        """
        division = self._division
        sums, squares = division.sums(parts)
        most = min(len(listed), len(sums))
        largest = np.argpartition(-sums, most - 1)[:most] if most else np.empty(0, dtype=np.intp)
        credited = {person for holders in listed.values() for person, _ in holders}
        wanted = ({division.people[number] for number in largest} | credited) - unnamed
        return {
            person: expansion.total(float(sums[number]), float(squares[number]))
            for person in sorted(wanted)
            if (number := division.number_of.get(person)) is not None
        }


def _upper_bound(positive: NDArray[np.float64], works: int) -> UnlistedInfluence:
    """The estimate where every sampled work is listed: the least listed work represents each of the others.

    A search lists the nearest works, so a work that is not listed is not expected to have more influence than
    the least listed one.

    Args:
        positive: (M,) expected positive influence of the sampled works, all of which are listed.
        works: Number of works that are not listed.
    """
    least = float(positive.min()) if len(positive) else 0.0
    return UnlistedInfluence(least * works, least * least * works, works)


@dataclass(frozen=True)
class _Expansion:
    """Extrapolation from `sampled` works (at least one) to `works` works (at least one)."""

    sampled: int
    works: int

    @property
    def factor(self) -> float:
        """The number of works that each sampled work represents."""
        return self.works / self.sampled

    def total(self, total: float, squares: float) -> ContributorInfluence:
        """The sum over all works with its standard error.

        Args:
            total: Sum over the sampled works.
            squares: Sum of squares over the sampled works.
        """
        variance = max(squares - total * total / self.sampled, 0.0) / max(self.sampled - 1, 1)
        unseen = max(1.0 - self.sampled / self.works, 0.0)
        return ContributorInfluence(
            total * self.factor, self.works * math.sqrt(variance * unseen / self.sampled)
        )
