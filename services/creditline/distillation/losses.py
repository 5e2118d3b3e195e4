"""What the student is trained to: three losses between its cosines and the teacher's influence.

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


class LossKind(enum.Enum):
    """RANK: cross-entropy of each pair with its normalised rank (arXiv 2511.10721, the paper's own loss).

    LISTWISE: cross-entropy of a query's softmax over works with the softmax of its standardised influence.
    SHARE: the same with the works' shares of the query's positive influence.
    """

    RANK = "rank"
    LISTWISE = "listwise"
    SHARE = "share"


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
    """One of the three losses, with its learned slope and offset."""

    def __init__(self, kind: LossKind, *, softness: float) -> None:
        super().__init__()
        self.kind = kind
        self.softness = softness
        self.log_slope = nn.Parameter(torch.tensor(math.log(_FIRST_SLOPE)))
        self.offset = nn.Parameter(torch.tensor(0.0))

    def forward(self, cosines: Tensor, lists: Lists) -> Tensor:
        """Mean over queries, a scalar."""
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
