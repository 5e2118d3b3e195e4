"""Consensus of several methods: the weighted sum of their scores, each standardised over the works."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from creditline.attribution.attributor import Attributor, Gallery


def standardised(scores: NDArray[np.float64], *, spread: float = 0.0) -> NDArray[np.float64]:
    """Standardise the scores of each query: subtract their mean and divide by their standard deviation.

    Args:
        scores: (Q, N) float64.
        spread: Lower bound of the divisor, so that scores that hardly differ stay close together.

    Returns:
        Standardised scores: (Q, N) float64; 0 for a query whose scores are all equal when `spread` is 0.
    """
    centred = scores - scores.mean(axis=1, keepdims=True)
    scale = np.maximum(centred.std(axis=1, keepdims=True), spread)
    return np.divide(centred, scale, out=np.zeros_like(centred), where=scale > 0)


def consensus(scores: Sequence[NDArray[np.float64]], weights: Sequence[float]) -> NDArray[np.float64]:
    """Weighted sum of standardised scores.

    Args:
        scores: One (Q, N) float64 array per method, at least one.
        weights: One weight per method.

    Returns:
        The sum: (Q, N) float64.
    """
    total = np.zeros_like(scores[0])
    for values, weight in zip(scores, weights, strict=True):
        total += weight * standardised(values)
    return total


def sharpened(scores: NDArray[np.float64], power: float) -> NDArray[np.float64]:
    """Scores raised to a power, with their sign kept: any shape, unchanged."""
    values: NDArray[np.float64] = np.sign(scores) * np.abs(scores) ** power
    return values


class Sharpened(Attributor):
    """Scores of another method raised to a power, with their sign kept, so that high scores count for more.

    Args:
        name: Name of this method.
        base: The method whose scores are used.
        power: Exponent applied to the absolute value.
    """

    def __init__(self, name: str, base: Attributor, power: float) -> None:
        self.name = name
        self._base = base
        self._power = power

    def prepare(self, works: Gallery, directory: Path) -> None:
        self._base.prepare(works, directory)
        self.bytes_per_work, self.passes_per_query = self._base.bytes_per_work, self._base.passes_per_query

    def scores(self, queries: Gallery) -> NDArray[np.float64]:
        return sharpened(self._base.scores(queries), self._power)


class Consensus(Attributor):
    """Consensus of several methods, each with a subdirectory of its own for its artifacts.

    Args:
        name: Name of this method.
        members: The methods.
        weights: One weight per member.
    """

    def __init__(self, name: str, members: Sequence[Attributor], weights: Sequence[float]) -> None:
        self.name = name
        self._members = tuple(members)
        self._weights = tuple(weights)

    def prepare(self, works: Gallery, directory: Path) -> None:
        for member in self._members:
            member.prepare(works, directory / member.name)
        self.bytes_per_work = sum(member.bytes_per_work for member in self._members)

    def scores(self, queries: Gallery) -> NDArray[np.float64]:
        combined = consensus([member.scores(queries) for member in self._members], self._weights)
        self.passes_per_query = sum(member.passes_per_query for member in self._members)
        return combined
