"""Prometheus metrics of the embedder."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info

from creditline.observability.exposition import exemplar

_BATCH_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128)
_PARTS = ("towers", "head")
_RERANK_PARTS = ("gradient", "kernel")
_LATENCY_BUCKETS_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_RERANK_BUCKETS_SECONDS = (0.001, 0.005, 0.025, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 60)


class CallMetrics:
    """Calls of one service: how many by status, how long they take, and how many are in progress.

    Args:
        prefix: Start of the names of the series.
        buckets_seconds: Upper bounds of the buckets of durations.
        registry: Registry of the embedder's metrics.
    """

    def __init__(self, prefix: str, buckets_seconds: Sequence[float], registry: CollectorRegistry) -> None:
        self._calls = Counter(f"{prefix}_calls", "Calls by gRPC status.", ["code"], registry=registry)
        self._seconds = Histogram(
            f"{prefix}_call_seconds", "Duration of a call.", buckets=buckets_seconds, registry=registry
        )
        self.in_flight = Gauge(
            f"{prefix}_calls_in_flight", "Calls that are being answered.", registry=registry
        )

    def finished(self, code: str, seconds: float) -> None:
        """Count a finished call.

        Args:
            code: Name of its gRPC status.
            seconds: Duration of the call.
        """
        self._calls.labels(code).inc()
        self._seconds.observe(seconds, exemplar())


class EmbedderMetrics:
    """Metrics of one embedder, in a registry of its own: two in one process do not share counts."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.calls = CallMetrics("creditline_embedder", _LATENCY_BUCKETS_SECONDS, self.registry)
        self._batch = Histogram(
            "creditline_embedder_batch_size",
            "Pictures in a forward pass.",
            buckets=_BATCH_BUCKETS,
            registry=self.registry,
        )
        self._waited = Histogram(
            "creditline_embedder_wait_seconds",
            "Waiting time of the first picture of a batch.",
            buckets=_LATENCY_BUCKETS_SECONDS,
            registry=self.registry,
        )
        self._forward = Histogram(
            "creditline_embedder_forward_seconds",
            "Duration of a forward pass by part: the frozen towers, and the encoder's head with its scores.",
            ["part"],
            buckets=_LATENCY_BUCKETS_SECONDS,
            registry=self.registry,
        )
        for part in _PARTS:
            self._forward.labels(part)
        self.oldest_seconds = Gauge(
            "creditline_embedder_wait_age_seconds",
            "Time for which the oldest queued picture has waited.",
            registry=self.registry,
        )
        self.queue_limit = Gauge(
            "creditline_embedder_queue_limit", "Most pictures that may be queued.", registry=self.registry
        )
        self.waiting = Gauge("creditline_embedder_waiting", "Queued pictures.", registry=self.registry)
        self.release = Gauge(
            "creditline_embedder_release", "1 for the loaded release.", ["release"], registry=self.registry
        )
        self._compiled = Gauge(
            "creditline_embedder_tower_compiled",
            "1 for a tower that runs compiled, 0 for one that runs by eager torch.",
            ["tower"],
            registry=self.registry,
        )
        self.device = Info(
            "creditline_device", "Device on which the process's models run.", registry=self.registry
        )

    def towers(self, eager: Collection[str]) -> None:
        """Set which towers run compiled.

        Args:
            eager: Names of the towers that do not.
        """
        for tower in ("image", "text"):
            self._compiled.labels(tower).set(tower not in eager)

    def batch(self, size: int, waited_seconds: float) -> None:
        """Count a forward pass at its start.

        Args:
            size: Number of pictures.
            waited_seconds: Waiting time of the first picture.
        """
        self._batch.observe(size)
        self._waited.observe(waited_seconds)

    def forward(self, towers_seconds: float, head_seconds: float) -> None:
        """Record the durations of a forward pass.

        Args:
            towers_seconds: Time in the frozen towers.
            head_seconds: Time in the encoder's head and its scores.
        """
        for part, seconds in zip(_PARTS, (towers_seconds, head_seconds), strict=True):
            self._forward.labels(part).observe(seconds)


class RerankMetrics:
    """Metrics of re-ranking, in an embedder that re-ranks.

    Args:
        registry: Registry of the embedder's metrics.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self.calls = CallMetrics("creditline_embedder_rerank", _RERANK_BUCKETS_SECONDS, registry)
        self._parts = Histogram(
            "creditline_embedder_rerank_seconds",
            "Duration of a query by part: its gradient on the generator, and the kernel.",
            ["part"],
            buckets=_RERANK_BUCKETS_SECONDS,
            registry=registry,
        )
        for part in _RERANK_PARTS:
            self._parts.labels(part)
        self.waiting = Gauge("creditline_embedder_rerank_waiting", "Queued queries.", registry=registry)
        self.oldest_seconds = Gauge(
            "creditline_embedder_rerank_wait_age_seconds",
            "Time for which the oldest queued query has waited.",
            registry=registry,
        )
        self.queue_limit = Gauge(
            "creditline_embedder_rerank_queue_limit", "Most queries that may be queued.", registry=registry
        )

    def query(self, gradient_seconds: float, kernel_seconds: float) -> None:
        """Record the durations of a query.

        Args:
            gradient_seconds: Time of the gradient on the generator.
            kernel_seconds: Time of the kernel.
        """
        for part, seconds in zip(_RERANK_PARTS, (gradient_seconds, kernel_seconds), strict=True):
            self._parts.labels(part).observe(seconds)
