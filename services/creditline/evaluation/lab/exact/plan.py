"""The plan of the exact effects: the training that is differentiated, its queries, and the sets left out."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from creditline.evaluation.lab.exact.optimiser import SmoothAdamW
from creditline.evaluation.lab.plan import LabQuery
from creditline.evaluation.lab.record import LabRecord

RANDOM = "random"


@dataclass(frozen=True)
class ExactPlan:
    """Sizes and seeds; by default those of the committed record."""

    steps: int = 300
    """Steps of the training."""
    batch: int = 16
    """Works per step."""
    learning_rate: float = 1e-3
    """Peak learning rate."""
    epsilon: float = 1e-4
    """ε of the optimiser (`SmoothAdamW`)."""
    seed: int = 0
    """Seed of the initial weights, the order and the noise of the training."""
    queries: int = 16
    """Number of generated queries."""
    group: int = 4
    """Queries whose adjoints are carried back together; it changes memory and time alone."""
    segment: int = 20
    """Steps between two stored states; it changes memory and time alone."""
    chosen_sets: int = 12
    """Number of sets of works with the largest effects on one query, which are left out."""
    random_sets: int = 8
    """Number of random sets that are left out."""
    largest_set: int = 5
    """Largest number of works in a set."""

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> ExactPlan:
        """Restore a plan from the output of `to_json`."""
        return cls(**{field.name: content[field.name] for field in fields(cls)})

    def to_json(self) -> dict[str, Any]:
        """The fields by name, as JSON values."""
        return asdict(self)

    def optimiser(self) -> SmoothAdamW:
        """The optimiser of the training."""
        return SmoothAdamW(self.steps, self.learning_rate, self.epsilon)

    def segments(self) -> list[range]:
        """The steps in consecutive parts, of which the first states are stored."""
        return [
            range(first, min(first + self.segment, self.steps))
            for first in range(0, self.steps, self.segment)
        ]


@dataclass(frozen=True)
class LeftOut:
    """A small set of works that is left out of the training."""

    name: str
    """Name of the set, used in file names."""
    reason: str
    """Id of the query that the works were chosen for, or "random"."""
    rows: tuple[int, ...]
    """Rows of the works."""


def planned_queries(record: LabRecord, plan: ExactPlan) -> tuple[LabQuery, ...]:
    """Evenly spread generated queries of the lab: their prompts and seeds, under ids of their own."""
    rows = record.spread_rows(plan.queries, ["generated"])
    return tuple(
        LabQuery(f"exact-{number:02d}", "generated", record.queries[row].prompt, record.queries[row].seed)
        for number, row in enumerate(rows)
    )


def random_sets(plan: ExactPlan, works: int) -> list[LeftOut]:
    """Random sets of 1 to `largest_set` works, in turn.

    Args:
        plan: Number and sizes of the sets, and the seed.
        works: Number of works to draw from.
    """
    random = np.random.default_rng([plan.seed, 1])
    return [
        LeftOut(f"{RANDOM}-{number:02d}", RANDOM, _sorted(random.permutation(works)[: _size(plan, number)]))
        for number in range(plan.random_sets)
    ]


def chosen_sets(plan: ExactPlan, queries: tuple[LabQuery, ...], scores: NDArray[np.float64]) -> list[LeftOut]:
    """For evenly spread queries, the 1 to `largest_set` works with the highest scores, in turn.

    Args:
        plan: Number and sizes of the sets.
        queries: The queries, Q of them.
        scores: (Q, N) float64, score of each work for each query.
    """
    places = np.linspace(0, len(queries) - 1, plan.chosen_sets).round().astype(int)
    return [
        LeftOut(
            f"chosen-{number:02d}",
            queries[place].id,
            _sorted(np.argsort(-scores[place], kind="stable")[: _size(plan, number)]),
        )
        for number, place in enumerate(places)
    ]


def interleaved(first: list[LeftOut], second: list[LeftOut]) -> list[LeftOut]:
    """All sets of two lists, each list spread evenly, so that the first sets hold both kinds."""
    placed = [(place / len(some), one) for some in (first, second) for place, one in enumerate(some)]
    return [one for _, one in sorted(placed, key=lambda entry: entry[0])]


def _size(plan: ExactPlan, number: int) -> int:
    return 1 + number % plan.largest_set


def _sorted(rows: NDArray[np.intp]) -> tuple[int, ...]:
    return tuple(int(row) for row in np.sort(rows))
