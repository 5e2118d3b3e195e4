"""Concentration of influence: does a picture owe a few works much, or many works little?

Concentration is Herfindahl's index Σ p² (p: each work's part of the total), less that of an even spread, in
parts of its largest possible value. `above_even` computes it, and `equal_parts` turns it back into a number
of works.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def concentration(changes: NDArray[np.float64]) -> NDArray[np.float64]:
    """The concentration of each query's loss changes.

    Args:
        changes: (Q, N) ΔL of N works for Q queries; negative values count as 0.

    Returns:
        (Q,) from 0 (all works have the same part) to 1 (one work has it all); 0 for a query without a
        positive change.
    """
    positive = np.maximum(changes, 0.0)
    total = positive.sum(axis=1, keepdims=True)
    parts = np.divide(positive, total, out=np.full_like(positive, 1.0 / positive.shape[1]), where=total > 0)
    return np.array(
        [above_even(float(squares), positive.shape[1]) for squares in np.square(parts).sum(axis=1)]
    )


def above_even(squares: float, works: int) -> float:
    """The concentration of an influence that `works` works share.

    Args:
        squares: Σ p² over all works, 1/works to 1.
        works: number of works N, those without influence included.

    Returns:
        (Σ p² - 1/N) / (1 - 1/N), from 0 (even spread) to 1 (one work has it all); 1 for fewer than two works.
    """
    if works < 2:
        return 1.0
    even = 1.0 / works
    return min(max((squares - even) / (1.0 - even), 0.0), 1.0)


def equal_parts(concentration: float, works: int) -> float:
    """The number of works that would be as concentrated if they had equal parts and all others none.

    This is Hill's number of order 2, 1 / Σ p² (the inverse Simpson index). Every text and document that
    states a number of equal parts takes it from here.

    Args:
        concentration: what `above_even` gave for `works`, 0 to 1.
        works: number of works N among which the influence is shared, at least 1.

    Returns:
        1 / (c (1 - 1/N) + 1/N), from 1 (one work has it all) to `works` (even spread).
    """
    even = 1.0 / max(works, 1)
    return 1.0 / (concentration * (1.0 - even) + even)
