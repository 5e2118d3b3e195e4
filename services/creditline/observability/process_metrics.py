"""Metrics that every service has: its process, its Python, and what was built into it."""

from __future__ import annotations

from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Gauge, GCCollector, PlatformCollector, ProcessCollector

from creditline import __version__

_PREFIX_LENGTH = 12


@dataclass(frozen=True)
class Build:
    """What a process runs."""

    service: str
    """Name of the service."""
    commit: str = ""
    """Commit that it was built from; empty where unknown."""
    release: str = ""
    """Name of the release that it serves; empty where it serves none."""
    encoder: str = ""
    """SHA-256 of the release's encoder; the metric holds its beginning."""


def expose_process(registry: CollectorRegistry, build: Build) -> None:
    """Add metrics of the process: `process_…`, `python_…`, and `creditline_build_info`.

    Args:
        registry: Registry of the service's metrics.
        build: What the process runs.
    """
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    Gauge(
        "creditline_build_info",
        "1 for what the process runs: version, commit, release, and the beginning of its encoder's SHA-256.",
        ("service", "version", "commit", "release", "encoder"),
        registry=registry,
    ).labels(build.service, __version__, build.commit, build.release, build.encoder[:_PREFIX_LENGTH]).set(1)
