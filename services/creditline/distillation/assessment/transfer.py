"""Transfer: figures of an encoder on queries of another kind than those that it was trained on."""

from __future__ import annotations

import numpy as np

from creditline.calibration.intervals import AnswerIntervals
from creditline.distillation.assessment.held_out import (
    CEILING,
    OURS,
    HeldOut,
    best_raw,
    encoder_cosines,
    method_agreements,
)
from creditline.distillation.assessment.interval_fitting import coverage
from creditline.encoder.encoder import Encoder
from creditline.evaluation.bootstrap import Estimate, bootstrap_mean, paired_difference


def transfer_figures(
    encoder: Encoder, transfer: HeldOut, intervals: AnswerIntervals, *, seed: int
) -> dict[str, Estimate]:
    """Agreement, its gain over raw features, and interval coverage on transfer queries.

    Args:
        encoder: The encoder.
        transfer: Queries of the other kind.
        intervals: Intervals fitted on usual held-out queries, whose coverage is measured.
        seed: Seed of the bootstrap.
    """
    methods = {method.name: method for method in method_agreements(encoder, transfer, seed=seed)}
    ours, raw = methods[OURS].ndcg100, best_raw(methods)
    inside = coverage(intervals.works, encoder_cosines(encoder, transfer), transfer.relative)
    figures = {
        "transfer_ndcg100": ours,
        "transfer_ndcg100_best_raw": raw.ndcg100,
        "transfer_ndcg100_gain": paired_difference(
            methods[OURS].ndcg100_by_query, raw.ndcg100_by_query, seed=seed
        ),
        "transfer_coverage": bootstrap_mean(np.asarray(inside), seed=seed),
    }
    if CEILING in methods:
        ceiling = methods[CEILING].ndcg100.value
        figures["transfer_ndcg100_of_ceiling"] = Estimate(
            ours.value / ceiling, ours.low / ceiling, ours.high / ceiling
        )
    return figures
