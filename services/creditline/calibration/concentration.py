"""How unevenly a query's influence is spread: does a picture owe a few works much, or many works little?"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def concentration(changes: NDArray[np.float64]) -> NDArray[np.float64]:
    """How unevenly a query's ΔL is spread, 0 (all works alike) to 1 (one has it all): (Q, N) -> (Q,).

    Herfindahl's index Σ p², p being each work's part of the sum, less that of an even spread, 1/N; works
    below 0 count as 0. A query to which no work matters has 0.
    """
    positive = np.maximum(changes, 0.0)
    total = positive.sum(axis=1, keepdims=True)
    parts = np.divide(positive, total, out=np.full_like(positive, 1.0 / positive.shape[1]), where=total > 0)
    return np.array(
        [above_even(float(squares), positive.shape[1]) for squares in np.square(parts).sum(axis=1)]
    )


def above_even(squares: float, works: int) -> float:
    """Σ p² of so many works, less that of an even spread, in parts of the most it can be: 0 to 1."""
    if works < 2:
        return 1.0
    even = 1.0 / works
    return min(max((squares - even) / (1.0 - even), 0.0), 1.0)
