"""When the certificates expire that a process uses, as metrics."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from datetime import datetime
from pathlib import Path

from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from creditline.credentials.tls_files import TlsFiles

CERTIFICATE, AUTHORITIES = "certificate", "authorities"
"""Values of the label `file`."""


def expose_expiry(
    registry: CollectorRegistry,
    connections: Mapping[str, TlsFiles | None],
    *,
    kept: Collection[str] = (),
) -> None:
    """Add `creditline_certificate_expiry_timestamp_seconds`, which has a series for each file.

    Files are read at a scrape when they have changed; of one that cannot be read, the last time stays. Of a
    certificate with intermediate ones the first end counts, of authorities the last.

    Args:
        registry: Registry of the service's metrics.
        connections: Files by the name of the connection, one of a fixed set; None: it has no TLS.
        kept: Connections that use what their files hold now until the process ends: new files change nothing.
    """
    ends = {}
    for name, files in connections.items():
        if files is not None and files.cert:
            ends[name, CERTIFICATE] = _End(files.cert, kept=name in kept)
        if files is not None and files.ca:
            ends[name, AUTHORITIES] = _End(files.ca, last=True, kept=name in kept)
    registry.register(_Expiry(ends))


class _Expiry(Collector):
    def __init__(self, ends: Mapping[tuple[str, str], _End]) -> None:
        self._ends = ends

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """One sample for each file that could be read."""
        family = GaugeMetricFamily(
            "creditline_certificate_expiry_timestamp_seconds",
            "Time at which a certificate expires, or the last of a connection's authorities.",
            labels=("connection", "file"),
        )
        for labels, end in self._ends.items():
            seconds = end.seconds()
            if not math.isnan(seconds):
                family.add_metric(labels, seconds)
        yield family


class _End:
    """The end of the certificates in one file."""

    def __init__(self, path: Path, *, last: bool = False, kept: bool = False) -> None:
        self._path = path
        self._choose = max if last else min
        self._state: tuple[int, int, int] | None = None
        self._seconds = math.nan
        self._is_kept = False
        self._is_kept = kept and not math.isnan(self.seconds())

    def seconds(self) -> float:
        """Seconds since 1970; NaN as long as the file could not be read."""
        if not self._is_kept:
            self._read_if_changed()
        return self._seconds

    def _read_if_changed(self) -> None:
        try:
            status = self._path.stat()
            state = status.st_ino, status.st_size, status.st_mtime_ns
            if state != self._state:
                self._seconds = self._choose(_ends_in(self._path)).timestamp()
                self._state = state
        except (OSError, ValueError):
            pass  # The connection that uses the file reports it.


def _ends_in(path: Path) -> list[datetime]:
    """When the certificates of a file expire. Raises OSError and ValueError."""
    # Imported here: services without TLS need not wait for it.
    from cryptography.x509 import load_pem_x509_certificates

    return [each.not_valid_after_utc for each in load_pem_x509_certificates(path.read_bytes())]
