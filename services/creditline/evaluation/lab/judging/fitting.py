"""Fit of every consensus of the registry: what it was offered, the weights, and the sharpening."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from creditline.attribution.methods.hyperparameters import CONSENSUSES, OFFERED, SHARPENED, WITHOUT
from creditline.errors import InvalidInput
from creditline.evaluation.lab.judging.aids import aided_method
from creditline.evaluation.lab.judging.comparison import Comparison, Sum
from creditline.evaluation.lab.judging.scoring import MethodScores
from creditline.evaluation.lab.judging.weighting import fitted_weights, joined, shared_rows
from creditline.evaluation.lab.record import LabRecord

# Weights are kept with two decimals; what rounds to 0 is left out.
_DECIMALS = 2


@dataclass(frozen=True)
class FittedConsensus:
    """A consensus as the choosing subsets give it."""

    weights: Mapping[str, float]
    """Weight of each member by name, the largest 1; members of weight 0 are left out."""
    powers: Mapping[str, float]
    """Exponent of each member's scores by name, where it is not 1."""
    power: float = 1.0
    """Exponent of the sum."""

    def agrees_with(self, other: FittedConsensus) -> bool:
        """Whether the other has the same members, powers and, within 0.01, weights."""
        return (
            self.weights.keys() == other.weights.keys()
            and all(abs(weight - other.weights[name]) < 0.011 for name, weight in self.weights.items())
            and (self.powers, self.power) == (other.powers, other.power)
        )


def committed_consensus(name: str) -> FittedConsensus:
    """The consensus of that name as the registry has it."""
    powers, power = SHARPENED.get(name, ({}, 1.0))
    return FittedConsensus(CONSENSUSES[name], powers, power)


def fit_consensus(name: str, record: LabRecord, scores: Mapping[str, MethodScores]) -> FittedConsensus:
    """Fit a consensus on the choosing subsets, over the generated queries that all offered methods scored.

    Args:
        name: Name of the consensus.
        record: The lab's record.
        scores: Scores by method.

    Raises:
        InvalidInput: The registry has no consensus of that name.
        NotReady: The record lacks subsets of its plan.
    """
    if name in WITHOUT:
        other, member = WITHOUT[name]
        fitted = fit_consensus(other, record, scores)
        kept = {one: weight for one, weight in fitted.weights.items() if one != member}
        return FittedConsensus(kept, {one: power for one, power in fitted.powers.items() if one != member})
    if name not in OFFERED:
        raise InvalidInput(
            f"unknown consensus {name!r}; choose one of {', '.join(CONSENSUSES)}", field="name"
        )
    members = OFFERED[name]
    if name in SHARPENED:
        return _fit_sharpened(name, record, scores)
    weights = fitted_weights(record, [scores[member] for member in members])
    rounded = {
        member: round(float(weight), _DECIMALS) for member, weight in zip(members, weights, strict=True)
    }
    return FittedConsensus({member: weight for member, weight in rounded.items() if weight > 0}, {})


def _fit_sharpened(name: str, record: LabRecord, scores: Mapping[str, MethodScores]) -> FittedConsensus:
    members = OFFERED[name]
    generated = set(record.query_rows("generated").tolist())
    rows = [row for row in shared_rows([scores[member] for member in members]) if row in generated]
    methods = [aided_method(member, rows, scores, {}) for member in members]
    comparison = Comparison(record, rows, methods, [Sum(name, members, "sum")])
    fitted = comparison.outcome(comparison.standard).sums[name]
    rounded = {aid: round(weight, _DECIMALS) for aid, weight in fitted.weights.items()}
    kept = {aid: weight for aid, weight in rounded.items() if weight > 0}
    return FittedConsensus(
        {aid.method: weight for aid, weight in kept.items()},
        {aid.method: aid.power for aid in kept if aid.power != 1.0},
        fitted.power,
    )


def consensus_scores(name: str, scores: Mapping[str, MethodScores]) -> MethodScores:
    """A registry's consensus from stored scores of its members."""
    committed = committed_consensus(name)
    members = list(committed.weights)
    return joined(
        name,
        [scores[member] for member in members],
        tuple(committed.weights.values()),
        [committed.powers.get(member, 1.0) for member in members],
        committed.power,
    )
