"""What the teacher tells Prometheus."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, generate_latest

_AUDIT_BUCKETS_SECONDS = (1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 900.0, 3600.0)
# How the handling of one job can end.
OUTCOMES = ("done", "failed", "repeated", "busy", "given_back")


class TeacherMetrics:
    """Counters of one worker, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._audits = Counter(
            "creditline_teacher_audits",
            "Audit jobs by outcome: done, failed, repeated (it was done before), busy (another worker "
            "has it), given_back (the worker stops).",
            ("state",),
            registry=self.registry,
        )
        for outcome in OUTCOMES:
            self._audits.labels(outcome)
        self.audit_seconds = Histogram(
            "creditline_teacher_audit_seconds",
            "Time that an audit took, from lease to verdict.",
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
            "creditline_device", "Where the process's models run, and what that is.", registry=self.registry
        )
        self.running = Gauge(
            "creditline_teacher_audits_running", "Audits that run now.", registry=self.registry
        )

    def count(self, outcome: str) -> None:
        """Note how a job ended: one of `OUTCOMES`."""
        self._audits.labels(outcome).inc()

    def exposition(self) -> bytes:
        """All metrics as Prometheus' text."""
        return generate_latest(self.registry)
