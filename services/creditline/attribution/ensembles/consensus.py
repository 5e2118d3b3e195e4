"""Several methods' scores as one: each in units of its own spread over the works, weighted, and summed up."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from creditline.attribution.attributor import Attributor, Gallery


def standardised(scores: NDArray[np.float64], *, spread: float = 0.0) -> NDArray[np.float64]:
    """Each query's scores less their mean, over their standard deviation; 0 where all are alike: (Q, N).

    spread: the least to divide by, so that scores that hardly differ stay near one another.
    """
    centred = scores - scores.mean(axis=1, keepdims=True)
    scale = np.maximum(centred.std(axis=1, keepdims=True), spread)
    return np.divide(centred, scale, out=np.zeros_like(centred), where=scale > 0)


def consensus(scores: Sequence[NDArray[np.float64]], weights: Sequence[float]) -> NDArray[np.float64]:
    """The weighted sum of standardised scores: (Q, N)."""
    total = np.zeros_like(scores[0])
    for values, weight in zip(scores, weights, strict=True):
        total += weight * standardised(values)
    return total


class Sharpened(Attributor):
    """Another method's scores to a power, their sign kept: what is nearest counts for more."""

    def __init__(self, name: str, of: Attributor, power: float) -> None:
        self.name = name
        self._of = of
        self._power = power

    def prepare(self, works: Gallery, directory: Path) -> None:
        self._of.prepare(works, directory)
        self.bytes_per_work, self.passes_per_query = self._of.bytes_per_work, self._of.passes_per_query

    def scores(self, queries: Gallery) -> NDArray[np.float64]:
        values = self._of.scores(queries)
        sharpened: NDArray[np.float64] = np.sign(values) * np.abs(values) ** self._power
        return sharpened


class Consensus(Attributor):
    """The consensus of methods that each have their directory."""

    def __init__(self, name: str, members: Sequence[Attributor], weights: Sequence[float]) -> None:
        self.name = name
        self._members = tuple(members)
        self._weights = tuple(weights)

    def prepare(self, works: Gallery, directory: Path) -> None:
        for member in self._members:
            member.prepare(works, directory / member.name)
        self.bytes_per_work = sum(member.bytes_per_work for member in self._members)

    def scores(self, queries: Gallery) -> NDArray[np.float64]:
        joined = consensus([member.scores(queries) for member in self._members], self._weights)
        self.passes_per_query = sum(member.passes_per_query for member in self._members)
        return joined
