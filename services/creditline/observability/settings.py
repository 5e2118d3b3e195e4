"""Settings that every service has: its logs, its traces, and what it was built from."""

from __future__ import annotations

from typing import Literal

from creditline.settings import ServiceSettings

LogFormat = Literal["text", "json"]


class ObservedSettings(ServiceSettings):
    """Base class of the settings of services."""

    commit: str = ""
    """Commit that the service was built from, for metrics and traces; images set it."""
    log_format: LogFormat = "text"
    """Format of the log: `text`, or `json` for one JSON object a line, and one line for each request."""
    traces: str = ""
    """URL of an OpenTelemetry collector that takes OTLP over gRPC, such as http://collector:4317; empty: the
    variables of the standard (OTEL_EXPORTER_OTLP_ENDPOINT …) decide, and without them nothing is traced."""
