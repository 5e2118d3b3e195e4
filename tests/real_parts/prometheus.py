"""A real Prometheus (Debian's package `prometheus`) that scrapes services on loopback ports."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.real_parts.ports import LOOPBACK, free_port, wait_until

_WITHOUT_PROXY = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass(frozen=True)
class Prometheus:
    """A running server."""

    url: str

    def query_range(self, expression: str, start: float, end: float, step: float) -> list[dict[str, Any]]:
        """Series of an expression over a range, each with its labels (`metric`) and `values`."""
        asked = {"query": expression, "start": start, "end": end, "step": step}
        result: list[dict[str, Any]] = self._get("query_range", asked)["result"]
        return result

    def firing(self) -> set[str]:
        """Names of the alerts that fire."""
        alerts = self._get("alerts", {})["alerts"]
        return {alert["labels"]["alertname"] for alert in alerts if alert["state"] == "firing"}

    def targets_up(self) -> set[str]:
        """Names of the jobs whose last scrape succeeded."""
        targets = self._get("targets", {})["activeTargets"]
        return {target["labels"]["job"] for target in targets if target["health"] == "up"}

    def wait_for_alert(self, name: str, seconds: float = 60.0) -> None:
        """Wait until an alert fires. Raises TimeoutError."""
        until = time.monotonic() + seconds
        while name not in self.firing():
            if time.monotonic() > until:
                raise TimeoutError(f"{name} did not fire within {seconds:g} s; {sorted(self.firing())} do")
            time.sleep(0.2)

    def _get(self, path: str, asked: Mapping[str, Any]) -> Any:
        url = f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(asked)}"
        with _WITHOUT_PROXY.open(url, timeout=30) as answer:
            return json.load(answer)["data"]


def installed(program: str) -> str:
    """Path of `prometheus` or `promtool`. Raises FileNotFoundError with what to install."""
    found = shutil.which(program)
    if found is None:
        raise FileNotFoundError(f"{program} is not installed: apt-get install prometheus")
    return found


@contextmanager
def running_prometheus(
    directory: Path, targets: Mapping[str, str], rules: Path | None = None, *, seconds: float = 1.0
) -> Iterator[Prometheus]:
    """Run a Prometheus for the length of the block.

    Args:
        directory: Its configuration and data are written here.
        targets: Address (`host:port`) to scrape by the job's name.
        rules: File of rules to evaluate.
        seconds: Interval of scrapes and evaluations.
    """
    interval, port = f"{round(seconds * 1000)}ms", free_port()
    configuration = {
        "global": {"scrape_interval": interval, "evaluation_interval": interval, "scrape_timeout": interval},
        "rule_files": [str(rules)] if rules else [],
        "scrape_configs": [
            {"job_name": job, "static_configs": [{"targets": [address]}]} for job, address in targets.items()
        ],
    }
    file = directory / "prometheus.yaml"
    file.write_text(yaml.safe_dump(configuration))
    command = [
        installed("prometheus"),
        f"--config.file={file}",
        f"--storage.tsdb.path={directory / 'data'}",
        f"--web.listen-address={LOOPBACK}:{port}",
        "--enable-feature=exemplar-storage",
    ]
    with (directory / "prometheus.log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        try:
            server = Prometheus(f"http://{LOOPBACK}:{port}")
            wait_until("Prometheus answers", lambda: _ready(server, process))
            yield server
        finally:
            process.terminate()
            process.wait(30)


def _ready(server: Prometheus, process: subprocess.Popen[bytes]) -> bool:
    assert process.poll() is None, "Prometheus has ended; see prometheus.log"
    try:
        with _WITHOUT_PROXY.open(f"{server.url}/-/ready", timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False
