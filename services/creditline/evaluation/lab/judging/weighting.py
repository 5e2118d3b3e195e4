"""Weights of the methods in a consensus, fitted on the choosing subsets."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from creditline.attribution.attributor import Cost
from creditline.attribution.ensembles.consensus import consensus, sharpened, standardised
from creditline.evaluation.lab.judging.scoring import CHOOSING, MethodScores
from creditline.evaluation.lab.record import LabRecord


def shared_rows(members: Sequence[MethodScores]) -> list[int]:
    """Rows of the queries that all members scored, sorted."""
    return sorted(set.intersection(*(set(member.rows) for member in members)))


def fitted_weights(record: LabRecord, members: Sequence[MethodScores]) -> NDArray[np.float64]:
    """Fit the weights of a consensus by non-negative least squares on generated queries.

    The scores of each member predict the benefit of each query under every choosing subset. Predictions and
    benefits are centred over the subsets, and benefits are divided by their standard deviation as well, so
    that all queries have equal weight.

    Args:
        record: The lab's record.
        members: Scores of the members.

    Returns:
        (members,) float64, not negative, the largest 1.

    Raises:
        NotReady: The record lacks subsets of its plan.
    """
    record.refuse_incomplete()
    generated = record.query_rows("generated")
    rows = np.intersect1d(shared_rows(members), generated).tolist()
    retrained = record.retrained("generated")
    benefit = retrained.benefit()[:, np.searchsorted(generated, rows)]
    predicted = np.stack([retrained.subsets @ standardised(one.of_rows(rows)).T for one in members])
    subsets = (np.arange(len(benefit)) < CHOOSING).astype(np.float64)
    return counted_weights(predicted, benefit, subsets, np.ones(len(rows)))


def counted_weights(
    predicted: NDArray[np.float64],
    benefit: NDArray[np.float64],
    subsets: NDArray[np.float64],
    queries: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Fit weights by non-negative least squares where subsets and queries occur a number of times.

    Args:
        predicted: (members, M, Q) float64, predictions from standardised scores.
        benefit: (M, Q) float64, benefits that they are fitted to.
        subsets: (M,) float64, how often each subset occurs, 0 or more.
        queries: (Q,) float64, how often each query occurs, 0 or more.

    Returns:
        (members,) float64, not negative, the largest 1; all equal where no member has a positive weight.
    """
    rows, columns = subsets > 0, queries > 0
    counts = subsets[rows]
    target = _centred(benefit[rows][:, columns], counts)
    target /= np.sqrt((counts[:, None] * target**2).sum(axis=0) / counts.sum())
    design = _centred(predicted[:, rows][:, :, columns], counts)
    scale = np.sqrt(counts[:, None] * queries[columns])
    weights, _ = nnls((design * scale).reshape(len(design), -1).T, (target * scale).ravel())
    if not weights.any():
        return np.ones(len(design))
    scaled: NDArray[np.float64] = weights / weights.max()
    return scaled


def _centred(values: NDArray[np.float64], counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Values (…, M, Q) minus each query's mean over subsets that occur `counts` (M,) times."""
    mean = (counts[:, None] * values).sum(axis=-2, keepdims=True) / counts.sum()
    centred: NDArray[np.float64] = values - mean
    return centred


def joined(
    name: str,
    members: Sequence[MethodScores],
    weights: Sequence[float],
    powers: Sequence[float] | None = None,
    power: float = 1.0,
) -> MethodScores:
    """The consensus of existing scores, over the queries that all members scored.

    Args:
        name: Name of the consensus.
        members: Scores of the members, whose costs are added up.
        weights: Weight of each member.
        powers: Exponent that sharpens each member's scores; None: 1 for all.
        power: Exponent that sharpens the sum.
    """
    rows = shared_rows(members)
    tables = [
        sharpened(member.of_rows(rows), exponent)
        for member, exponent in zip(members, powers or [1.0] * len(members), strict=True)
    ]
    values = sharpened(consensus(tables, weights), power)
    costs = [member.cost for member in members]
    total = Cost(
        preparation_seconds=sum(cost.preparation_seconds for cost in costs),
        seconds_per_query=sum(cost.seconds_per_query for cost in costs),
        passes_per_query=sum(cost.passes_per_query for cost in costs),
        bytes_per_work=sum(cost.bytes_per_work for cost in costs),
    )
    (made_from,) = {member.made_from for member in members}
    return MethodScores(name, tuple(rows), values.astype(np.float32), total, made_from)
