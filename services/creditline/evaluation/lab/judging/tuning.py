"""Which λ a kernel has: searched on the choosing subsets, shown with what the judging ones say of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from creditline.evaluation.lab.judging.scoring import CHOOSING
from creditline.evaluation.lab.record import LabRecord
from creditline.evaluation.lds import Retrained, lds_by_query


@dataclass(frozen=True)
class Tried:
    """Mean linear datamodelling scores of generated queries with one λ."""

    regularisation: float
    choosing: float
    judging: float


def tried(
    record: LabRecord, rows: Sequence[int], by_regularisation: Mapping[float, NDArray[np.float64]]
) -> list[Tried]:
    """rows: the generated queries of the scores (Q, N), which are given by λ."""
    whole = record.retrained("generated")
    columns = np.searchsorted(record.query_rows("generated"), rows)

    def mean(scores: NDArray[np.float64], subsets: slice) -> float:
        retrained = Retrained(whole.subsets[subsets], whole.losses[subsets][:, :, columns])
        return float(lds_by_query(scores, retrained).mean())

    return [
        Tried(value, mean(scores, slice(CHOOSING)), mean(scores, slice(CHOOSING, None)))
        for value, scores in by_regularisation.items()
    ]


def best(found: Sequence[Tried]) -> Tried:
    """By the choosing subsets alone."""
    return max(found, key=lambda one: one.choosing)
