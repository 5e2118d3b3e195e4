"""The teacher's Prometheus metrics."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info

from creditline.observability.exposition import Exposition, exemplar, exposition

_AUDIT_BUCKETS_SECONDS = (1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 900.0, 3600.0)
# Possible outcomes of a job.
OUTCOMES = ("done", "failed", "repeated", "busy", "given_back")


class TeacherMetrics:
    """The metrics of one worker, in a separate registry."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._audits = Counter(
            "creditline_teacher_audits",
            "Audit jobs by outcome: done, failed, repeated (it was done before), busy (another worker "
            "holds it), given_back (the worker is stopping).",
            ("state",),
            registry=self.registry,
        )
        for outcome in OUTCOMES:
            self._audits.labels(outcome)
        self._audit_seconds = Histogram(
            "creditline_teacher_audit_seconds",
            "Duration of an audit from lease to verdict, in seconds.",
            buckets=_AUDIT_BUCKETS_SECONDS,
            registry=self.registry,
        )
        self.passes = Counter(
            "creditline_teacher_passes",
            "Teacher passes: forwards of the UNet for one work at one timestep and noise.",
            registry=self.registry,
        )
        self.loaded = Gauge(
            "creditline_teacher_loaded",
            "1 when generator, corpus and statistics are loaded.",
            registry=self.registry,
        )
        self.device = Info(
            "creditline_device", "Device that the process's models run on.", registry=self.registry
        )
        self.leases_taken_over = Counter(
            "creditline_teacher_leases_taken_over",
            "Audits taken from a worker that no longer renewed its lease.",
            registry=self.registry,
        )
        self.lease_failures = Counter(
            "creditline_teacher_lease_failures",
            "Renewals of a lease that failed, because the ledger did not answer or another worker holds it.",
            registry=self.registry,
        )
        self.last_verdict = Gauge(
            "creditline_teacher_last_verdict_timestamp_seconds",
            "Time of this worker's last verdict; 0 before the first.",
            registry=self.registry,
        )
        self.running = Gauge(
            "creditline_teacher_audits_running", "Audits that are running now.", registry=self.registry
        )

    @contextmanager
    def timed_audit(self) -> Iterator[None]:
        """Record the duration of the block as that of an audit, with the trace that it belongs to."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self._audit_seconds.observe(time.perf_counter() - began, exemplar())

    def count(self, outcome: str) -> None:
        """Count a job by its outcome, one of `OUTCOMES`."""
        self._audits.labels(outcome).inc()

    def exposition(self, accept: str = "") -> Exposition:
        """All metrics in the format that a scraper prefers.

        Args:
            accept: The scraper's `Accept` header.
        """
        return exposition(self.registry, accept)
