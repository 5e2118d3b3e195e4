"""How attributable a training makes the generator: LDS of gradient methods under one training and another.

Both trainings are judged alike: the same halves, one seed, generated queries of the same prompts, and each
method with the noise and the λ that are best for it on the first halves, which are not judged on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from creditline.errors import InvalidInput
from creditline.evaluation.bootstrap import RESAMPLES, Estimate, interval_of
from creditline.evaluation.lab.judging.aids import aided_method
from creditline.evaluation.lab.judging.kernels import StoredKernel
from creditline.evaluation.lab.judging.scoring import MethodScores
from creditline.evaluation.lab.record import LabRecord
from creditline.evaluation.lds import RetrainedModels, column_spearman, lds_by_query, predictions

# Number of halves, from the first, on which noise and λ are chosen.
CHOOSING = 8
_SEED = 29


def thinned(record: LabRecord, subsets: int) -> LabRecord:
    """A record of the first halves and the first seed alone.

    Args:
        record: The lab's record.
        subsets: Number of halves.

    Raises:
        InvalidInput: The record has fewer halves.
    """
    if len(record.subsets) < subsets:
        raise InvalidInput(f"the record has {len(record.subsets)} subsets, not {subsets}", field="subsets")
    plan = replace(record.plan, subsets=subsets, seeds=1)
    return replace(record, plan=plan, subsets=record.subsets[:subsets], losses=record.losses[:subsets, :1])


@dataclass(frozen=True)
class JudgedTraining:
    """Predictions of methods and benefits of queries on the halves of one training that are judged on."""

    predicted: Mapping[str, NDArray[np.float64]]
    """(M, Q) predicted benefit by method."""
    benefit: NDArray[np.float64]
    """(M, Q) minus the loss of each query under each model."""

    def lds(self) -> dict[str, float]:
        """Mean LDS over the queries by method."""
        return {
            name: float(column_spearman(predicted, self.benefit).mean())
            for name, predicted in self.predicted.items()
        }

    def drawn(self, rows: NDArray[np.intp], columns: NDArray[np.intp]) -> JudgedTraining:
        """A resample of halves (rows) and queries (columns)."""
        at = np.ix_(rows, columns)
        return JudgedTraining(
            {name: predicted[at] for name, predicted in self.predicted.items()}, self.benefit[at]
        )


def judged_training(
    record: LabRecord,
    methods: Sequence[str],
    scores: Mapping[str, MethodScores],
    kernels: Mapping[str, StoredKernel],
) -> JudgedTraining:
    """Judge methods on one training.

    Args:
        record: The record, with one seed.
        methods: Names of the methods, with noise of each picture's own.
        scores: Scores of generated queries by method, also with common noise where there are any.
        kernels: Kernels by method.
    """
    rows = record.query_rows("generated")
    whole = record.retrained("generated")
    choosing, judging = (
        RetrainedModels(whole.subsets[part], whole.losses[part])
        for part in (slice(CHOOSING), slice(CHOOSING, None))
    )
    predicted = {}
    for name in methods:
        method = aided_method(name, rows.tolist(), scores, kernels)
        plain = [table for aid, table in zip(method.aids, method.scores, strict=True) if aid.power == 1.0]
        best = max(plain, key=lambda table: float(lds_by_query(table, choosing).mean()))
        predicted[name] = predictions(best, judging)
    return JudgedTraining(predicted, judging.benefit())


def smooth_gain(smooth: JudgedTraining, usual: JudgedTraining) -> Estimate:
    """Mean LDS of the methods under the smoother training over that under the usual one.

    The interval is from resamples of halves and queries, which both trainings share.
    """

    def ratio(rows: NDArray[np.intp], columns: NDArray[np.intp]) -> float:
        means = [float(np.mean(list(one.drawn(rows, columns).lds().values()))) for one in (smooth, usual)]
        return means[0] / means[1]

    halves, queries = usual.benefit.shape
    random = np.random.default_rng(_SEED)
    resampled = [
        ratio(random.integers(halves, size=(halves,)), random.integers(queries, size=(queries,)))
        for _ in range(RESAMPLES)
    ]
    return interval_of(ratio(np.arange(halves), np.arange(queries)), resampled)
