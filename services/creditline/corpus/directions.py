"""Features as directions: rows of length 1, and which of them are none."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def directions(rows: NDArray[np.floating]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """rows: (N, width). Returns the rows at length 1: (N, width) float32, and which are directions: (N,).

    A row with NaN, with an infinite number, or of zeros only is none; its numbers are of no use.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        numbers = np.array(rows, dtype=np.float32)
        lengths = np.linalg.norm(numbers, axis=1)
        whole: NDArray[np.bool_] = np.isfinite(lengths) & (lengths > 0.0)
        numbers /= np.where(whole, lengths, np.float32(1.0))[:, None]
    return numbers, whole
