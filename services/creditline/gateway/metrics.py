"""Prometheus metrics of the gateway."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from creditline.gateway.stopwatch import STAGES, Stopwatch
from creditline.observability.exposition import Exposition, exemplar, exposition

PROTOCOLS = ("grpc", "http")
REFUSALS = (
    "unauthenticated",
    "denied",
    "not_found",
    "method",
    "too_large",
    "timeout",
    "headers",
    "media_type",
    "malformed",
    "overloaded",
    "rate",
    "quota",
)
"""Reasons for which a request is refused before it reaches a use case."""
_LATENCY_BUCKETS_SECONDS = (0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
# Keys with a label of their own; the uses of all others are counted together.
_MOST_KEYS = 100
_OTHER_KEYS = "other"
_AGREEMENT_BUCKETS = (0.001, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0)
_OOD_BUCKETS = (0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 3.0, 5.0, 10.0)
_REMAINDER_BUCKETS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0)
_STAGE_BUCKETS_SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)


class GatewayMetrics:
    """Metrics of one gateway, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "creditline_gateway_requests",
            "Requests that reached a use case, by protocol, method and outcome (gRPC status or HTTP status).",
            ("protocol", "method", "code"),
            registry=self.registry,
        )
        self._refusals = Counter(
            "creditline_gateway_refusals",
            "Requests that were refused before they reached a use case, by protocol and reason.",
            ("protocol", "reason"),
            registry=self.registry,
        )
        for protocol in PROTOCOLS:
            for reason in REFUSALS:
                self._refusals.labels(protocol, reason)
        self._request_seconds = Histogram(
            "creditline_gateway_request_seconds",
            "Duration of a request.",
            ("protocol", "method"),
            buckets=_LATENCY_BUCKETS_SECONDS,
            registry=self.registry,
        )
        self._key_requests = Counter(
            "creditline_gateway_key_requests",
            "Requests by API key: its id, `environment` or `file`; `other` for keys beyond the first "
            f"{_MOST_KEYS}.",
            ("key",),
            registry=self.registry,
        )
        self._keys_seen: set[str] = set()
        self.key_limits_local = Gauge(
            "creditline_gateway_key_limits_local",
            "1 while Redis does not answer and this gateway counts rates and quotas of API keys for itself.",
            registry=self.registry,
        )
        self._in_flight = Gauge(
            "creditline_gateway_requests_in_flight",
            "Requests that are being received or answered.",
            ("protocol",),
            registry=self.registry,
        )
        for protocol in PROTOCOLS:
            self._in_flight.labels(protocol)
        self.answers = AnswerMetrics(self.registry)
        self._stage_seconds = Histogram(
            "creditline_gateway_stage_seconds",
            "Duration of each stage of an attribution.",
            ("stage",),
            buckets=_STAGE_BUCKETS_SECONDS,
            registry=self.registry,
        )
        self.outbox_waiting = Gauge(
            "creditline_gateway_outbox_waiting",
            "Jobs in the outbox that are not published yet.",
            registry=self.registry,
        )
        self.withdrawals_waiting = Gauge(
            "creditline_gateway_withdrawals_waiting",
            "1 while the ledger holds withdrawals that this gateway has not carried out in the index.",
            registry=self.registry,
        )
        self.withheld_hits = Counter(
            "creditline_gateway_withheld_hits",
            "Withdrawn works that a search returned and that were left out: the index is behind the ledger.",
            registry=self.registry,
        )
        self.repeated_answers = Counter(
            "creditline_gateway_repeated_answers",
            "Requests that were answered with the first answer to the same request id.",
            registry=self.registry,
        )
        self.dependency_up = Gauge(
            "creditline_gateway_dependency_up",
            "1 when the service answered the last readiness check.",
            ("service",),
            registry=self.registry,
        )

    def refused(self, protocol: str, reason: str) -> None:
        """Count a request that was refused before it reached a use case.

        Args:
            protocol: One of `PROTOCOLS`.
            reason: One of `REFUSALS`; a value that callers choose would add a series for each of them.
        """
        self._refusals.labels(protocol, reason).inc()

    def expect_request(self, protocol: str, method: str, code: str) -> None:
        """Make the series of requests to come; see `observe_request`."""
        self._requests.labels(protocol, method, code)
        self._request_seconds.labels(protocol, method)

    def observe_request(self, protocol: str, method: str, code: str, seconds: float) -> None:
        """Count one request that reached a use case.

        Args:
            protocol: One of `PROTOCOLS`.
            method: Name of the call, or method and route; one of a fixed set.
            code: gRPC or HTTP status.
            seconds: Duration of the request.
        """
        self._requests.labels(protocol, method, code).inc()
        self._request_seconds.labels(protocol, method).observe(seconds, exemplar())

    def observe_key(self, key: str) -> None:
        """Count one request with an accepted API key."""
        if key not in self._keys_seen and len(self._keys_seen) >= _MOST_KEYS:
            key = _OTHER_KEYS
        self._keys_seen.add(key)
        self._key_requests.labels(key).inc()

    def observe_stages(self, stopwatch: Stopwatch) -> None:
        """Record the duration of each stage that an attribution reached, also of a failed one."""
        for stage in STAGES:
            if stopwatch.seconds(stage) > 0.0:
                self._stage_seconds.labels(stage).observe(stopwatch.seconds(stage), exemplar())

    def count_in_flight(self, protocol: str, count: Callable[[], int]) -> None:
        """Have the requests in flight of a protocol, one of `PROTOCOLS`, counted by a function."""
        self._in_flight.labels(protocol).set_function(count)

    def exposition(self, accept: str = "") -> Exposition:
        """All metrics in the format that a scraper prefers.

        Args:
            accept: The scraper's `Accept` header.
        """
        return exposition(self.registry, accept)


class AnswerMetrics:
    """What answers said about their pictures.

    Args:
        registry: Registry of the gateway's metrics.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._agreement = Histogram(
            "creditline_gateway_prompt_agreement",
            "Agreement of picture and prompt: the fraction of genuine pairs that agree less.",
            buckets=_AGREEMENT_BUCKETS,
            registry=registry,
        )
        self._ood_score = Histogram(
            "creditline_gateway_ood_score",
            "How unlike a picture is to those that the release was calibrated on; above 1 it is unlike.",
            buckets=_OOD_BUCKETS,
            registry=registry,
        )
        self._remainder = Histogram(
            "creditline_gateway_remainder",
            "Share of the influence that belongs to works that were not listed.",
            buckets=_REMAINDER_BUCKETS,
            registry=registry,
        )

    def observe(self, *, remainder: float, ood_score: float | None, prompt_agreement: float | None) -> None:
        """Count one answer; None where the release cannot tell."""
        self._remainder.observe(remainder)
        if ood_score is not None:
            self._ood_score.observe(ood_score)
        if prompt_agreement is not None:
            self._agreement.observe(prompt_agreement)
