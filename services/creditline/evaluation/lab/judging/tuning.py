"""Search of a kernel's λ on the choosing subsets, reported with its LDS on the judging subsets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from creditline.evaluation.lab.judging.scoring import CHOOSING
from creditline.evaluation.lab.record import LabRecord
from creditline.evaluation.lds import RetrainedModels, lds_by_query


@dataclass(frozen=True)
class TuningResult:
    """Mean LDS of generated queries with one λ."""

    regularisation: float
    """The λ of the kernel."""
    choosing: float
    """Mean LDS on the subsets for choosing."""
    judging: float
    """Mean LDS on the other subsets."""


def evaluate_regularisations(
    record: LabRecord, rows: Sequence[int], by_regularisation: Mapping[float, NDArray[np.float64]]
) -> list[TuningResult]:
    """Compute the LDS of each λ.

    Args:
        record: The lab's record.
        rows: Rows of the scored queries in the record, all of them generated.
        by_regularisation: (Q, N) scores of these queries by λ.

    Raises:
        NotReady: The record lacks subsets of its plan.
    """
    record.refuse_incomplete()
    whole = record.retrained("generated")
    columns = np.searchsorted(record.query_rows("generated"), rows)

    def mean(scores: NDArray[np.float64], subsets: slice) -> float:
        retrained = RetrainedModels(whole.subsets[subsets], whole.losses[subsets][:, :, columns])
        return float(lds_by_query(scores, retrained).mean())

    return [
        TuningResult(value, mean(scores, slice(CHOOSING)), mean(scores, slice(CHOOSING, None)))
        for value, scores in by_regularisation.items()
    ]


def best(found: Sequence[TuningResult]) -> TuningResult:
    """The λ with the highest LDS on the choosing subsets; the judging subsets are not considered."""
    return max(found, key=lambda one: one.choosing)
