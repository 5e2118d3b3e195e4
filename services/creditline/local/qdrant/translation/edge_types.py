"""Types of Qdrant Edge's results.

Edge's own stubs are wider than what this process stores: they allow text ids, and named, sparse and
multi-vectors. Points here have numeric or UUID ids and one dense vector; these protocols state that.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeAlias

import qdrant_edge as edge

from creditline.local.qdrant.translation.values import Payload, PointId

FacetValue: TypeAlias = str | int | bool
WithPayload: TypeAlias = bool | edge.PayloadSelector


class Record(Protocol):
    """A stored point."""

    @property
    def id(self) -> PointId:
        """The point's id."""

    @property
    def payload(self) -> Payload | None:
        """The payload fields that the request selects; None without any."""

    @property
    def vector(self) -> Sequence[float] | None:
        """The dense vector; None when the request does not select it."""


class ScoredPoint(Record, Protocol):
    """A stored point with its score in a search."""

    @property
    def score(self) -> float:
        """Similarity or distance to the query."""

    @property
    def version(self) -> int:
        """Number of the last operation that changed the point."""


class EdgeShard(Protocol):
    """The methods of an open `qdrant_edge.EdgeShard` that are used while it serves."""

    def query(self, query: edge.QueryRequest) -> Sequence[ScoredPoint]:
        """The nearest points, best first."""

    def query_batch(self, request: edge.QueryBatchRequest) -> Sequence[Sequence[ScoredPoint]]:
        """The result of each query."""

    def scroll(self, scroll: edge.ScrollRequest) -> tuple[Sequence[Record], PointId | None]:
        """One page of points, and the id at which the next page begins."""

    def count(self, count: edge.CountRequest) -> int:
        """Number of points."""

    def facet(self, facet: edge.FacetRequest) -> edge.FacetResponse:
        """Number of points per value of a payload field."""

    def retrieve(
        self, point_ids: list[PointId], with_payload: WithPayload, with_vector: bool
    ) -> Sequence[Record]:
        """The points that exist, in no order."""

    def info(self) -> edge.ShardInfo:
        """Counts of points and segments, and the payload indexes."""

    def update(self, operation: edge.UpdateOperation) -> None:
        """Apply an update."""

    def flush(self) -> None:
        """Write every segment to disk."""

    def close(self) -> None:
        """Release the shard's files."""
