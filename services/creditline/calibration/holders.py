"""Holders: the people among whom the credit of each work is divided, and sums per person over many works."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import NDArray

# People, each once, with fractions that sum to 1. Someone without a part, who may only withdraw the work,
# has the fraction 0.
Holders = tuple[tuple[str, float], ...]


def whole(person: str) -> Holders:
    """The holders of a work whose whole credit is one person's."""
    return ((person, 1.0),)


def summed(parts: Iterable[tuple[str, float]]) -> Holders:
    """Holders in which every person is once, from parts in which a person may be several times."""
    fractions: dict[str, float] = {}
    for person, fraction in parts:
        fractions[person] = fractions.get(person, 0.0) + fraction
    return tuple(fractions.items())


def of_people(holders: Sequence[Holders], person: Callable[[str], str]) -> tuple[Holders, ...]:
    """The same holders with another key for each person, such as one for two people who were merged."""
    keys = dict.fromkeys(key for each in holders for key, _ in each)
    other = {key: renamed for key in keys if (renamed := person(key)) != key}
    if not other:
        return tuple(holders)
    # Few people are merged, so most works keep their holders.
    changed = {row for row, each in enumerate(holders) for key, _ in each if key in other}
    return tuple(
        summed((other.get(key, key), fraction) for key, fraction in each) if row in changed else each
        for row, each in enumerate(holders)
    )


@dataclass(frozen=True, eq=False)
class Division:
    """The credit of M works, divided among P people: T triples of work, person and positive fraction."""

    people: tuple[str, ...]
    """(P,) people with a part of any work."""
    works: NDArray[np.intp]
    """(T,) rows of the works, in their order."""
    numbers: NDArray[np.intp]
    """(T,) indices of the people."""
    fractions: NDArray[np.float64]
    """(T,) parts of the works' credit."""

    @classmethod
    def of(cls, holders: Sequence[Holders]) -> Self:
        """The division of M works by their holders."""
        counts = np.array([len(each) for each in holders], dtype=np.intp)
        works = np.repeat(np.arange(len(holders)), counts)
        fractions = np.array([fraction for each in holders for _, fraction in each], dtype=np.float64)
        has_part = fractions > 0.0
        people = [person for each in holders for person, fraction in each if fraction > 0.0]
        number_of = {person: number for number, person in enumerate(dict.fromkeys(people))}
        numbers = np.array([number_of[person] for person in people], dtype=np.intp)
        return cls(tuple(number_of), works[has_part], numbers, fractions[has_part])

    @cached_property
    def number_of(self) -> dict[str, int]:
        """Index of each person in `people`."""
        return {person: number for number, person in enumerate(self.people)}

    @cached_property
    def _is_undivided(self) -> bool:
        """Whether every work belongs to one person, so that the parts need not be gathered."""
        every_work = np.array_equal(self.works, np.arange(len(self.works)))
        return every_work and bool((self.fractions == 1.0).all())

    def sums(self, parts: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Sum, and sum of squares, of every person's parts of the works.

        Args:
            parts: (M,) a number for each work.

        Returns:
            (P,) and (P,) float64.
        """
        own = parts if self._is_undivided else parts[self.works] * self.fractions
        return self._sum(own), self._sum(np.square(own))

    def _sum(self, own: NDArray[np.float64]) -> NDArray[np.float64]:
        sums = np.bincount(self.numbers, weights=own, minlength=len(self.people))
        return sums.astype(np.float64, copy=False)
