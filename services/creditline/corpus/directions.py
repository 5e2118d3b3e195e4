"""L2 normalisation of rows of vectors."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def unit_rows(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """L2-normalised rows; zero rows are left unchanged: (N, D) -> (N, D)."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.divide(rows, lengths, out=np.zeros_like(rows), where=lengths != 0)


def directions(rows: NDArray[np.floating]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Normalise rows to length 1.

    Args:
        rows: (N, dimension) features of any floating type.

    Returns:
        The L2-normalised rows: (N, dimension) float32, and a mask of the valid rows: (N,) bool.
        A row that holds NaN or an infinite number, or only zeros, is invalid and its values are undefined.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        numbers = np.array(rows, dtype=np.float32)
        lengths = np.linalg.norm(numbers, axis=1)
        whole: NDArray[np.bool_] = np.isfinite(lengths) & (lengths > 0.0)
        numbers /= np.where(whole, lengths, np.float32(1.0))[:, None]
    return numbers, whole
