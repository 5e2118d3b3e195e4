"""Cosines of one query with a release's works, computed when an answer first depends on them, and once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from creditline.calibration.curve import Calibration
from creditline.calibration.intervals import AnswerIntervals
from creditline.calibration.remainder import CorpusSample


class QueryCosines:
    """Cosines of one query with the works of samples.

    Samples that share one array of vectors, such as those of the same works with other keys for people, share
    the cosines.

    Args:
        vector: (D,) float32, the query's vector, L2-normalised.
    """

    def __init__(self, vector: NDArray[np.float32]) -> None:
        self.vector = vector
        self._known: list[tuple[NDArray[np.float32], NDArray[np.float32]]] = []

    def with_works(self, sample: CorpusSample) -> NDArray[np.float32]:
        """Cosines with the sampled works: (M,) float32."""
        for vectors, known in self._known:
            if vectors is sample.vectors:
                return known
        cosines: NDArray[np.float32] = sample.vectors @ self.vector
        self._known.append((sample.vectors, cosines))
        return cosines

    def calibration(self, fitted: Calibration, sample: CorpusSample) -> Calibration:
        """The curves for the query, which depend on its nearest sampled work where there is a softmax."""
        return fitted if fitted.softmax is None else fitted.for_query(self._nearest(sample))

    def intervals(self, fitted: AnswerIntervals, sample: CorpusSample) -> AnswerIntervals | None:
        """The intervals for the query, which depend on its nearest sampled work where there are kinds.

        Returns:
            None: The query is unlike all that the intervals were fitted on.
        """
        return fitted.for_query(self._nearest(sample)) if fitted.by_nearest else fitted

    def _nearest(self, sample: CorpusSample) -> float:
        """Cosine of the nearest sampled work; -1 without works."""
        return float(self.with_works(sample).max(initial=-1.0))
