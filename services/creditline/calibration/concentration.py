"""Concentration of influence: whether a picture owes much to a few works or little to many.

Concentration is the normalised Herfindahl index: Σ p² (p: the part of each work in the total) less its value
for an even spread, divided by the largest value of that difference. `above_even` computes it, and
`equal_parts` converts it back into a number of works.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def concentration(changes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Concentration of the loss changes of each query.

    Args:
        changes: (Q, N) float64, ΔL of N works for Q queries; negative values count as 0.

    Returns:
        (Q,) float64, from 0 (all works have the same part) to 1 (one work has all of it); 0 for a query
        without a positive change.
    """
    positive = np.maximum(changes, 0.0)
    total = positive.sum(axis=1, keepdims=True)
    parts = np.divide(positive, total, out=np.full_like(positive, 1.0 / positive.shape[1]), where=total > 0)
    return np.array(
        [above_even(float(squares), positive.shape[1]) for squares in np.square(parts).sum(axis=1)]
    )


def above_even(squares: float, works: int) -> float:
    """Concentration of the influence on one query, from the sum of squared parts.

    Args:
        squares: Σ p² over all works, 1/works to 1.
        works: Number of works N, including those without influence.

    Returns:
        (Σ p² - 1/N) / (1 - 1/N), from 0 (even spread) to 1 (one work has all); 1 for fewer than two works.
    """
    if works < 2:
        return 1.0
    even = 1.0 / works
    return min(max((squares - even) / (1.0 - even), 0.0), 1.0)


def equal_parts(concentration: float, works: int) -> float:
    """The number of works with equal parts, all others having none, that gives the same concentration.

    This is the Hill number of order 2, 1 / Σ p² (the inverse Simpson index). Every text and document that
    states a number of equal parts uses this function.

    Args:
        concentration: Result of `above_even` for `works`, 0 to 1.
        works: Number of works N that share the influence, at least 1.

    Returns:
        1 / (c (1 - 1/N) + 1/N), from 1 (one work has all of it) to `works` (even spread).
    """
    even = 1.0 / max(works, 1)
    return 1.0 / (concentration * (1.0 - even) + even)
