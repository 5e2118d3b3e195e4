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
    towards 0 for the least; positive: the positive part of the influence.
    """

    standardised: Tensor
    rank: Tensor
    positive: Tensor

    @classmethod
    def of(cls, influence: Tensor) -> Lists:
        """influence: (Q, N) float32, all works."""
        deviation = influence.std(dim=1, keepdim=True).clamp_min(1e-12)
        order = influence.argsort(dim=1).argsort(dim=1)
        return cls(
            standardised=(influence - influence.mean(dim=1, keepdim=True)) / deviation,
            rank=(order + 1).float() / influence.shape[1],
            positive=influence.clamp_min(0.0) / deviation,
        )

    def part(self, queries: Tensor, works: Tensor) -> Lists:
        """The lists of some queries and works: both (…,) int64."""
        return Lists(*(values[queries][:, works] for values in (self.standardised, self.rank, self.positive)))


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
        if self.kind is LossKind.CORRELATION:
            strengths = (self.log_slope.exp() * (cosines - 1.0)).exp()
            return 1.0 - (_aligned(strengths) * _aligned(lists.standardised)).sum(dim=1).mean()
        logits = self.log_slope.exp() * cosines
        if self.kind is LossKind.RANK:
            return nn.functional.binary_cross_entropy_with_logits(logits + self.offset, lists.rank)
        wanted = self._wanted(lists)
        return -(wanted * logits.log_softmax(dim=1)).sum(dim=1).mean()

    def _wanted(self, lists: Lists) -> Tensor:
        if self.kind is LossKind.LISTWISE:
            return (lists.standardised / self.softness).softmax(dim=1)
        total = lists.positive.sum(dim=1, keepdim=True)
        return lists.positive / total.clamp_min(1e-12)


def _aligned(values: Tensor) -> Tensor:
    """Each row less its mean, of length 1."""
    return nn.functional.normalize(values - values.mean(dim=1, keepdim=True), dim=1)
