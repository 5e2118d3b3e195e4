"""Weights of the methods in a consensus, fitted on the choosing subsets."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from creditline.attribution.attributor import Cost
from creditline.attribution.ensembles.consensus import consensus, standardised
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
    subsets = retrained.subsets[:CHOOSING]
    benefit = retrained.benefit()[:CHOOSING][:, np.searchsorted(generated, rows)]
    target = (benefit - benefit.mean(axis=0)) / benefit.std(axis=0)
    predicted = np.stack([subsets @ standardised(member.of_rows(rows)).T for member in members], axis=-1)
    predicted -= predicted.mean(axis=0)
    weights, _ = nnls(predicted.reshape(-1, len(members)), target.ravel())
    scaled: NDArray[np.float64] = weights / weights.max()
    return scaled


def joined(name: str, members: Sequence[MethodScores], weights: Sequence[float]) -> MethodScores:
    """The consensus of existing scores, over the queries that all members scored.

    Args:
        name: Name of the consensus.
        members: Scores of the members, whose costs are added up.
        weights: Weight of each member.
    """
    rows = shared_rows(members)
    values = consensus([member.of_rows(rows) for member in members], weights)
    costs = [member.cost for member in members]
    total = Cost(
        preparation_seconds=sum(cost.preparation_seconds for cost in costs),
        seconds_per_query=sum(cost.seconds_per_query for cost in costs),
        passes_per_query=sum(cost.passes_per_query for cost in costs),
        bytes_per_work=sum(cost.bytes_per_work for cost in costs),
    )
    (made_from,) = {member.made_from for member in members}
    return MethodScores(name, tuple(rows), values.astype(np.float32), total, made_from)
