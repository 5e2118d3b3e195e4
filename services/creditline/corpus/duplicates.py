"""Duplicate groups: works that are copies or near copies of each other and share one credit."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_ROWS_PER_BLOCK = 512


def relative_distances(ink: NDArray[np.float32], others: NDArray[np.float32]) -> NDArray[np.float32]:
    """Squared distances between pictures, relative to the larger picture's ink.

    Args:
        ink: (A, D) float32, each row 1 − pixels (white is 0).
        others: (B, D) float32, in the same form.

    Returns:
        (A, B) float32: 0 for the same picture, about 1 or more for unrelated ones, independent of how much
        of the canvas they fill.
    """
    energy = (ink**2).sum(axis=1)
    other_energy = (others**2).sum(axis=1)
    squared = energy[:, None] + other_energy[None, :] - 2.0 * ink @ others.T
    scale = np.maximum(energy[:, None], other_energy[None, :]) + 1e-6
    return np.maximum(squared, 0.0) / scale


def duplicate_groups(ink: NDArray[np.float32], *, threshold: float) -> NDArray[np.int64]:
    """Group works that are closer than `threshold` (single linkage).

    Args:
        ink: (N, D) float32, each row 1 − pixels.
        threshold: Relative distance below which two works are joined.

    Returns:
        (N,) int64: for each work, the first row of its group.
    """
    parent = np.arange(len(ink))

    def root(row: int) -> int:
        while parent[row] != row:
            parent[row] = parent[parent[row]]
            row = int(parent[row])
        return row

    for start in range(0, len(ink), _ROWS_PER_BLOCK):
        close = relative_distances(ink[start : start + _ROWS_PER_BLOCK], ink) < threshold
        for offset, other in zip(*np.nonzero(close), strict=True):
            first, second = sorted((root(start + int(offset)), root(int(other))))
            parent[second] = first
    return np.array([root(row) for row in range(len(ink))], dtype=np.int64)
