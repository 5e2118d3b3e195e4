"""How unlike a query is to all that an encoder was trained and calibrated on.

An answer about a picture of another kind (a photograph, noise, another model's work) is no answer: the
figures of a release say nothing of it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from creditline.errors import InvalidInput

_DIRECTIONS = 64
_NEIGHBOURS = 5


@dataclass(frozen=True, eq=False)
class Familiar:
    """Training queries in their principal directions, each of unit variance.

    mean: (F,); directions: (D, F), divided by the spread along each; known: (Q, D), all float32.
    """

    mean: NDArray[np.float32]
    directions: NDArray[np.float32]
    known: NDArray[np.float32]

    @classmethod
    def of(cls, queries: NDArray[np.float32], *, directions: int = _DIRECTIONS) -> Familiar:
        """queries: (Q, F) features. Raises InvalidInput when they are too few to tell what is usual."""
        if len(queries) <= _NEIGHBOURS:
            raise InvalidInput(
                f"{len(queries)} training queries cannot tell what is usual; label more than {_NEIGHBOURS}",
                field="queries",
            )
        mean = queries.mean(axis=0)
        _, spreads, rows = np.linalg.svd(queries - mean, full_matrices=False)
        kept = min(directions, int((spreads > 1e-6 * spreads[0]).sum()))
        scaled = rows[:kept] * (np.sqrt(len(queries)) / spreads[:kept, None])
        found = scaled.astype(np.float32)
        return cls(mean.astype(np.float32), found, (queries - mean) @ found.T)

    def unfamiliarity(self, queries: NDArray[np.float32]) -> NDArray[np.float64]:
        """Mean distance to the nearest training queries: (Q,); 0 for one of which there are many copies."""
        at = (queries - self.mean) @ self.directions.T
        squares = (
            np.square(at).sum(axis=1)[:, None] + np.square(self.known).sum(axis=1) - 2.0 * at @ self.known.T
        )
        nearest = np.sort(np.sqrt(np.maximum(squares, 0.0)), axis=1)[:, :_NEIGHBOURS]
        distances: NDArray[np.float64] = nearest.mean(axis=1, dtype=np.float64)
        return distances
