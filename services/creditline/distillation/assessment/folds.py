"""The two folds of held-out queries, so that nothing is judged on the queries that it was fitted on."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray


def two_folds(count: int, seed: int) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Rows to fit on and rows to judge on, twice, so that every row is judged once.

    Args:
        count: Number of rows; of an odd number, the second half has one more.
        seed: Seed of the split into halves.

    Returns:
        The first half with the second, then the second with the first.
    """
    order = np.random.default_rng(seed).permutation(count)
    first, second = order[: count // 2], order[count // 2 :]
    yield first, second
    yield second, first
