"""Prometheus metrics of the circuit breakers."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge

SERVICES = ("embedder", "reranker", "qdrant", "ledger")
"""Services behind a breaker."""


class BreakerMetrics:
    """Metrics of all breakers of one gateway.

    Args:
        registry: Registry of the gateway's metrics.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self.state = Gauge(
            "creditline_gateway_breaker_state",
            "State of the service's circuit breaker: 0 closed, 1 half-open, 2 open.",
            ["service"],
            registry=registry,
        )
        self.openings = Counter(
            "creditline_gateway_breaker_openings",
            "How often the breaker opened, or opened again after a trial.",
            ["service"],
            registry=registry,
        )
        self.refusals = Counter(
            "creditline_gateway_breaker_refusals",
            "Requests that were refused because the service kept failing.",
            ["service"],
            registry=registry,
        )
        for service in SERVICES:
            for by_service in (self.state, self.openings, self.refusals):
                by_service.labels(service)
