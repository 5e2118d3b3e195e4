"""Prometheus metrics of admission."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

ORDINARY, LARGE, RERANKED = "ordinary", "large", "reranked"
GATES = (ORDINARY, LARGE, RERANKED)
"""Names of the gates: for ordinary pictures, for those that are slow to decode, and for re-ranked answers."""
REASONS = ("deadline", "late", "memory")
"""Why requests are refused: the expected answer is too late at once, or while it waits; too much waits."""
_WAIT_BUCKETS = (0.001, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 7.5, 10.0, 30.0)


class AdmissionMetrics:
    """Metrics of all gates of one gateway.

    Args:
        registry: Registry of the gateway's metrics.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self.in_flight = Gauge(
            "creditline_gateway_admission_in_flight",
            "Answers that are being computed.",
            ["gate"],
            registry=registry,
        )
        self.waiting = Gauge(
            "creditline_gateway_admission_waiting",
            "Requests that wait for their turn.",
            ["gate"],
            registry=registry,
        )
        self.expected_wait = Gauge(
            "creditline_gateway_admission_expected_wait_seconds",
            "Time that a new request is expected to wait behind all others.",
            ["gate"],
            registry=registry,
        )
        self.rate = Gauge(
            "creditline_gateway_admission_answers_per_second",
            "Answers per second, as last measured while requests waited; 0 before the first measurement.",
            ["gate"],
            registry=registry,
        )
        self.wait_seconds = Histogram(
            "creditline_gateway_admission_wait_seconds",
            "Time that requests waited for their turn.",
            ["gate"],
            buckets=_WAIT_BUCKETS,
            registry=registry,
        )
        self.refusals = Counter(
            "creditline_gateway_admission_refusals",
            "Requests that were refused as overload, by reason: their expected answer was past their deadline"
            " at once (deadline) or while they waited (late), or too much waited (memory).",
            ["gate", "reason"],
            registry=registry,
        )
        for gate in GATES:
            for by_gate in (self.in_flight, self.waiting, self.expected_wait, self.rate, self.wait_seconds):
                by_gate.labels(gate)
            for reason in REASONS:
                self.refusals.labels(gate, reason)
