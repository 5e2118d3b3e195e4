"""How much each method counts in a consensus: fitted on the subsets that are for choosing."""

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
    """The queries that all of them scored."""
    return sorted(set.intersection(*(set(member.rows) for member in members)))


def fitted_weights(record: LabRecord, members: Sequence[MethodScores]) -> NDArray[np.float64]:
    """Weights, none negative and the largest 1, by least squares on generated queries: (members,).

    Each member foretells a query's benefit in every choosing subset; both are taken less their means over
    subsets, the benefit over its spread as well, so that every query counts alike.
    """
    generated = record.query_rows("generated")
    rows = np.intersect1d(shared_rows(members), generated).tolist()
    retrained = record.retrained("generated")
    subsets = retrained.subsets[:CHOOSING]
    benefit = retrained.benefit()[:CHOOSING][:, np.searchsorted(generated, rows)]
    wanted = (benefit - benefit.mean(axis=0)) / benefit.std(axis=0)
    predicted = np.stack([subsets @ standardised(member.of_rows(rows)).T for member in members], axis=-1)
    predicted -= predicted.mean(axis=0)
    weights, _ = nnls(predicted.reshape(-1, len(members)), wanted.ravel())
    largest: NDArray[np.float64] = weights / weights.max()
    return largest


def joined(name: str, members: Sequence[MethodScores], weights: Sequence[float]) -> MethodScores:
    """The consensus of scores that are there already, over the queries that all members scored."""
    rows = shared_rows(members)
    values = consensus([member.of_rows(rows) for member in members], weights)
    costs = [member.cost for member in members]
    total = Cost(
        preparation_seconds=sum(cost.preparation_seconds for cost in costs),
        seconds_per_query=sum(cost.seconds_per_query for cost in costs),
        passes_per_query=sum(cost.passes_per_query for cost in costs),
        bytes_per_work=sum(cost.bytes_per_work for cost in costs),
    )
    return MethodScores(name, tuple(rows), values.astype(np.float32), total)
