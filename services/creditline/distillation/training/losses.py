"""What the student is trained to: losses between its cosines and the teacher's influence.

In all of them cosines: (B, W) float32, of B queries with W works, and a learned slope stretches them.
`lists` holds the teacher's view of the same pairs.
"""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

_FIRST_SLOPE = 20.0
# e to the slope's power is how much nearer a cosine of 1 counts than one of 0.
_FIRST_EXPONENT = 8.0


class LossKind(enum.Enum):
    """RANK: cross-entropy of each pair with its normalised rank (arXiv 2511.10721, the paper's own loss).

    LISTWISE: cross-entropy of a query's softmax over works with the softmax of its standardised influence.
    SHARE: the same with the works' shares of the query's positive influence.
    CORRELATION: 1 less the correlation, over works, of exp(slope · cosine) with the influence. Ours: whatever
    a query's influence is in, its strength counts and not only its order, and the exponent lets a few numbers
    of a vector tell a heavy tail.
    """

    RANK = "rank"
    LISTWISE = "listwise"
    SHARE = "share"
    CORRELATION = "correlation"


@dataclass(frozen=True)
class Lists:
    """The teacher's influence on B queries of W works, in three forms, each (B, W) float32.

    standardised: by the mean and deviation over all works; rank: 1 for the most influential of all works,
    towards 0 for the least; positive: the positive part of the influence. weights: how many works of the
    corpus each labelled one stands for, 0 where there is no label; None: every work has its own label.
    """

    standardised: Tensor
    rank: Tensor
    positive: Tensor
    weights: Tensor | None = None

    @classmethod
    def of(cls, influence: Tensor, weights: Tensor | None = None) -> Lists:
        """influence, weights: (Q, N) float32, all works."""
        if weights is not None:
            return cls._of_some(influence, weights)
        deviation = influence.std(dim=1, keepdim=True).clamp_min(1e-12)
        order = influence.argsort(dim=1).argsort(dim=1)
        return cls(
            standardised=(influence - influence.mean(dim=1, keepdim=True)) / deviation,
            rank=(order + 1).float() / influence.shape[1],
            positive=influence.clamp_min(0.0) / deviation,
        )

    @classmethod
    def _of_some(cls, influence: Tensor, weights: Tensor) -> Lists:
        """Means, deviations and ranks over all works, estimated from those that are labelled."""
        influence = torch.where(weights > 0, influence, 0.0)
        total = weights.sum(dim=1, keepdim=True)
        mean = (weights * influence).sum(dim=1, keepdim=True) / total
        variance = (weights * (influence - mean).square()).sum(dim=1, keepdim=True) / total
        deviation = variance.sqrt().clamp_min(1e-12)
        standardised = (influence - mean) / deviation
        # What is not labelled comes last wherever works are ordered.
        ordered = torch.where(weights > 0, influence, -torch.inf)
        order = ordered.argsort(dim=1)
        below = torch.zeros_like(weights).scatter_(1, order, weights.gather(1, order).cumsum(dim=1))
        return cls(
            standardised=torch.where(weights > 0, standardised, standardised.min()),
            rank=below / total,
            positive=influence.clamp_min(0.0) / deviation,
            weights=weights,
        )

    def to(self, device: torch.device) -> Lists:
        """The same on another device."""
        weights = None if self.weights is None else self.weights.to(device)
        return Lists(self.standardised.to(device), self.rank.to(device), self.positive.to(device), weights)

    def part(self, queries: Tensor, works: Tensor) -> Lists:
        """The lists of some queries and works: both (…,) int64, on the lists' device."""

        def taken(values: Tensor) -> Tensor:
            return values[queries][:, works]

        weights = None if self.weights is None else taken(self.weights)
        return Lists(taken(self.standardised), taken(self.rank), taken(self.positive), weights)


class DistillationLoss(nn.Module):
    """One of the losses, with its learned slope and offset."""

    def __init__(self, kind: LossKind, *, softness: float) -> None:
        super().__init__()
        self.kind = kind
        self.softness = softness
        first = _FIRST_EXPONENT if kind is LossKind.CORRELATION else _FIRST_SLOPE
        self.log_slope = nn.Parameter(torch.tensor(math.log(first)))
        self.offset = nn.Parameter(torch.tensor(0.0))

    def forward(self, cosines: Tensor, lists: Lists) -> Tensor:
        """Mean over queries, a scalar."""
        weights = lists.weights
        if self.kind is LossKind.CORRELATION:
            strengths = (self.log_slope.exp() * (cosines - 1.0)).exp()
            pairs = _aligned(strengths, weights) * _aligned(lists.standardised, weights)
            return 1.0 - pairs.sum(dim=1).mean()
        logits = self.log_slope.exp() * cosines
        if self.kind is LossKind.RANK:
            return _mean_cross_entropy(logits + self.offset, lists.rank, weights)
        wanted = self._wanted(lists)
        if weights is None:
            return -(wanted * logits.log_softmax(dim=1)).sum(dim=1).mean()
        # Σ over all works of exp(logit), estimated.
        normaliser = (logits + _log(weights)).logsumexp(dim=1, keepdim=True)
        return -(wanted * (logits - normaliser)).sum(dim=1).mean()

    def _wanted(self, lists: Lists) -> Tensor:
        if self.kind is LossKind.LISTWISE:
            logits = lists.standardised / self.softness
            return (logits if lists.weights is None else logits + _log(lists.weights)).softmax(dim=1)
        positive = lists.positive if lists.weights is None else lists.weights * lists.positive
        return positive / positive.sum(dim=1, keepdim=True).clamp_min(1e-12)


def _aligned(values: Tensor, weights: Tensor | None) -> Tensor:
    """Each row less its mean, of length 1; with weights, works count as many times as they stand for."""
    if weights is None:
        return nn.functional.normalize(values - values.mean(dim=1, keepdim=True), dim=1)
    mean = (weights * values).sum(dim=1, keepdim=True) / weights.sum(dim=1, keepdim=True).clamp_min(1e-12)
    return nn.functional.normalize(weights.sqrt() * (values - mean), dim=1)


def _mean_cross_entropy(logits: Tensor, wanted: Tensor, weights: Tensor | None) -> Tensor:
    total = nn.functional.binary_cross_entropy_with_logits(
        logits, wanted, weights, reduction="mean" if weights is None else "sum"
    )
    return total if weights is None else total / weights.sum().clamp_min(1e-12)


def _log(weights: Tensor) -> Tensor:
    """Of 0 so low that it counts for nothing, but finite."""
    return weights.clamp_min(1e-30).log()
