"""Exposition of metrics: Prometheus' text format, or OpenMetrics, with exemplars, on request."""

from __future__ import annotations

from dataclasses import dataclass

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from creditline.observability.trace_ids import current_span_ids

_TRACE_ID = "trace_id"


@dataclass(frozen=True)
class Exposition:
    """Metrics at one moment."""

    content_type: str
    """Media type of the body."""
    body: bytes
    """The metrics."""


def exposition(registry: CollectorRegistry, accept: str = "") -> Exposition:
    """All metrics of a registry in the format that a scraper prefers.

    Args:
        registry: The metrics.
        accept: The scraper's `Accept` header; empty: Prometheus' text format, which has no exemplars.
    """
    encode, content_type = choose_encoder(accept)
    return Exposition(content_type, encode(registry))


def exemplar() -> dict[str, str] | None:
    """The exemplar of an observation that is made now: the id of the recorded trace; None outside of one."""
    ids = current_span_ids()
    return {_TRACE_ID: ids.trace_id} if ids else None
