"""Prometheus metrics of the decoder pool."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

LANES = ("ordinary", "large")
"""Names of the pool's lanes."""
_END_REASONS = ("time", "memory", "slow", "stuck", "abandoned", "malformed", "unexpected")
_REFUSAL_REASONS = ("invalid", "time", "memory", "queue", "stuck", "ended")
_SECONDS_BUCKETS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class DecoderMetrics:
    """Metrics of one pool.

    Args:
        registry: Registry of the gateway's metrics.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self.processes = Gauge(
            "creditline_gateway_decoders", "Decoder processes that run.", ["lane"], registry=registry
        )
        self.busy = Gauge(
            "creditline_gateway_decoders_busy",
            "Decoder processes that decode a picture.",
            ["lane"],
            registry=registry,
        )
        self.ends = Counter(
            "creditline_gateway_decoder_ends",
            "Decoder processes that ended and were replaced, by reason.",
            ["reason"],
            registry=registry,
        )
        self.nursery_restarts = Counter(
            "creditline_gateway_decoder_nursery_restarts",
            "Restarts of the process that starts decoders.",
            registry=registry,
        )
        self.queued = Gauge(
            "creditline_gateway_decode_queue",
            "Pictures that wait for a decoder.",
            ["lane"],
            registry=registry,
        )
        self.oldest_seconds = Gauge(
            "creditline_gateway_decode_queue_age_seconds",
            "Time for which the oldest picture has waited for a decoder.",
            ["lane"],
            registry=registry,
        )
        self.refusals = Counter(
            "creditline_gateway_decode_refusals",
            "Pictures that were refused, by reason.",
            ["reason"],
            registry=registry,
        )
        self.seconds = Histogram(
            "creditline_gateway_decode_seconds",
            "Duration of decoding a picture, without waiting.",
            ["lane"],
            buckets=_SECONDS_BUCKETS,
            registry=registry,
        )
        # Series exist from the start: callers make none.
        for lane in LANES:
            for by_lane in (self.processes, self.busy, self.queued, self.oldest_seconds, self.seconds):
                by_lane.labels(lane)
        for reason in _END_REASONS:
            self.ends.labels(reason)
        for reason in _REFUSAL_REASONS:
            self.refusals.labels(reason)
