"""Losses between the student's cosines and the teacher's influence.

All of them take cosines: (B, W) float32, of B queries with W works, scaled by a learned slope, and `lists`,
the teacher's influence on the same pairs.
"""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

_FIRST_SLOPE = 20.0
# exp(slope) is the ratio of the strength at cosine 1 to that at cosine 0.
_FIRST_EXPONENT = 8.0


class LossKind(enum.Enum):
    """Kinds of loss."""

    RANK = "rank"
    """Binary cross-entropy of each pair with its normalised rank (arXiv 2511.10721, the paper's loss)."""
    LISTWISE = "listwise"
    """Cross-entropy of a query's softmax over works with the softmax of its standardised influence."""
    SHARE = "share"
    """Cross-entropy of a query's softmax over works with the works' shares of its positive influence."""
    CORRELATION = "correlation"
    """1 - correlation over works of exp(slope · cosine) with influence. Our loss: it does not depend on the
    unit of a query's influence, it counts magnitudes and not only order, and the exponential lets few
    components of a vector represent a heavy tail."""


@dataclass(frozen=True)
class Lists:
    """The teacher's influence of W works on B queries, in three forms."""

    standardised: Tensor
    """(B, W) float32, influence less its mean, divided by its standard deviation, both over all works."""
    rank: Tensor
    """(B, W) float32, normalised rank: 1 for the most influential of all works, near 0 for the least."""
    positive: Tensor
    """(B, W) float32, positive part of the influence, divided by the standard deviation over all works."""
    weights: Tensor | None = None
    """(B, W) float32, number of works that each labelled work represents, 0 for works without a label; None:
    every work is labelled."""

    @classmethod
    def of(cls, influence: Tensor, weights: Tensor | None = None) -> Lists:
        """The three forms of the influence of all works.

        Args:
            influence: (Q, N) float32.
            weights: (Q, N) float32, number of works that each labelled work represents; None: all are
                labelled.
        """
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
        """Lists whose means, deviations and ranks over all works are estimated from the labelled works."""
        influence = torch.where(weights > 0, influence, 0.0)
        total = weights.sum(dim=1, keepdim=True)
        mean = (weights * influence).sum(dim=1, keepdim=True) / total
        variance = (weights * (influence - mean).square()).sum(dim=1, keepdim=True) / total
        deviation = variance.sqrt().clamp_min(1e-12)
        standardised = (influence - mean) / deviation
        # Works without a label come last in every order.
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
        """The lists on another device."""
        weights = None if self.weights is None else self.weights.to(device)
        return Lists(self.standardised.to(device), self.rank.to(device), self.positive.to(device), weights)

    def part(self, queries: Tensor, works: Tensor) -> Lists:
        """Lists of some queries and works, by row numbers: (…,) int64 each, on the lists' device."""

        def select(values: Tensor) -> Tensor:
            return values[queries][:, works]

        weights = None if self.weights is None else select(self.weights)
        return Lists(select(self.standardised), select(self.rank), select(self.positive), weights)


class DistillationLoss(nn.Module):
    """One of the losses, with its learned slope and offset.

    Args:
        kind: The loss.
        softness: Temperature of the teacher's softmax in the listwise loss.
    """

    def __init__(self, kind: LossKind, *, softness: float) -> None:
        super().__init__()
        self.kind = kind
        self.softness = softness
        first = _FIRST_EXPONENT if kind is LossKind.CORRELATION else _FIRST_SLOPE
        self.log_slope = nn.Parameter(torch.tensor(math.log(first)))
        self.offset = nn.Parameter(torch.tensor(0.0))

    def forward(self, cosines: Tensor, lists: Lists) -> Tensor:
        """Loss of cosines (B, W) float32, averaged over queries: scalar."""
        weights = lists.weights
        if self.kind is LossKind.CORRELATION:
            strengths = (self.log_slope.exp() * (cosines - 1.0)).exp()
            pairs = _aligned(strengths, weights) * _aligned(lists.standardised, weights)
            return 1.0 - pairs.sum(dim=1).mean()
        logits = self.log_slope.exp() * cosines
        if self.kind is LossKind.RANK:
            return _mean_cross_entropy(logits + self.offset, lists.rank, weights)
        target = self._target(lists)
        if weights is None:
            return -(target * logits.log_softmax(dim=1)).sum(dim=1).mean()
        # Estimate of Σ exp(logit) over all works.
        normaliser = (logits + _log(weights)).logsumexp(dim=1, keepdim=True)
        return -(target * (logits - normaliser)).sum(dim=1).mean()

    def _target(self, lists: Lists) -> Tensor:
        """Distribution over works that a query's softmax is trained to: (B, W)."""
        if self.kind is LossKind.LISTWISE:
            logits = lists.standardised / self.softness
            return (logits if lists.weights is None else logits + _log(lists.weights)).softmax(dim=1)
        positive = lists.positive if lists.weights is None else lists.weights * lists.positive
        return positive / positive.sum(dim=1, keepdim=True).clamp_min(1e-12)


def _aligned(values: Tensor, weights: Tensor | None) -> Tensor:
    """Rows less their mean, L2-normalised; with weights, a work counts once for each work it represents."""
    if weights is None:
        return nn.functional.normalize(values - values.mean(dim=1, keepdim=True), dim=1)
    mean = (weights * values).sum(dim=1, keepdim=True) / weights.sum(dim=1, keepdim=True).clamp_min(1e-12)
    return nn.functional.normalize(weights.sqrt() * (values - mean), dim=1)


def _mean_cross_entropy(logits: Tensor, target: Tensor, weights: Tensor | None) -> Tensor:
    total = nn.functional.binary_cross_entropy_with_logits(
        logits, target, weights, reduction="mean" if weights is None else "sum"
    )
    return total if weights is None else total / weights.sum().clamp_min(1e-12)


def _log(weights: Tensor) -> Tensor:
    """Logarithm of weights; that of 0 is finite but negligible in a softmax."""
    return weights.clamp_min(1e-30).log()
