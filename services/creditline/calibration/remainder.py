"""The influence of all works that are not listed, from their calibrated scores or those of a sample."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from creditline.calibration.curve import Calibration

# Above this, a query's cosines with all works would cost more than the search itself.
SAMPLE_SIZE = 65_536


@dataclass(frozen=True, eq=False)
class CorpusSample:
    """The vectors of all works, or of a uniform sample of them.

    vectors: (M, D) float32, unit rows; row i belongs to `work_ids[i]`; `population` is the number N of works.
    """

    work_ids: tuple[str, ...]
    vectors: NDArray[np.float32]
    population: int

    @classmethod
    def draw(
        cls, work_ids: Sequence[str], vectors: NDArray[np.float32], *, seed: int, size: int = SAMPLE_SIZE
    ) -> CorpusSample:
        """All rows of `vectors` (N, D), or, above `size`, as many of them, uniformly by `seed`."""
        population = len(work_ids)
        if population <= size:
            return cls(tuple(work_ids), vectors, population)
        rows = np.sort(np.random.default_rng(seed).choice(population, size, replace=False))
        return cls(tuple(work_ids[row] for row in rows), vectors[rows], population)

    @cached_property
    def _row_of(self) -> dict[str, int]:
        return {work_id: row for row, work_id in enumerate(self.work_ids)}

    def influence_of_others(
        self, query: NDArray[np.float32], calibration: Calibration, listed: Collection[str]
    ) -> float:
        """Sum of the expected positive influence of all works but the listed ones.

        Which of them hold it cannot be told, and none is credited with it; that together they do is known.
        query: (D,) float32 unit vector; listed: works' ids, without repeats. The sampled works that are not
        listed stand for all that are not listed, so a listed work is never counted twice.
        """
        parts = calibration.expected_positive(self.vectors @ query)
        rows = [self._row_of[work_id] for work_id in listed if work_id in self._row_of]
        parts[rows] = 0.0
        sampled_others = len(self.work_ids) - len(rows)
        if sampled_others == 0:
            return 0.0
        return float(parts.sum()) * (self.population - len(listed)) / sampled_others
