"""Settings that every service has: its logs, its traces, and what it was built from."""

from __future__ import annotations

from creditline.settings import ServiceSettings


class ObservedSettings(ServiceSettings):
    """Base class of the settings of services."""

    commit: str = ""
    """Commit that the service was built from, for metrics and traces; images set it."""
