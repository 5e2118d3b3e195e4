"""A gateway process of its own, whose memory is watched from outside."""

from __future__ import annotations

import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from creditline.local.health import grpc_serves
from creditline.local.services import StackPorts
from tests.benchmarks.process_trees import resident_mib, status_mib
from tests.processes import wait_until

API_KEY = "load-test"
_NOBODY = "127.0.0.1:9"
_CLEAR_PEAK = "5"
_SERVICES = Path(__file__).resolve().parents[3] / "services"


@dataclass(frozen=True)
class GatewayProcess:
    """A running gateway of the reference release."""

    pid: int
    """Its process id."""
    ports: StackPorts
    """Its ports on 127.0.0.1."""

    @property
    def target(self) -> str:
        """Address of gRPC."""
        return f"127.0.0.1:{self.ports.gateway_grpc}"

    def series(self) -> set[str]:
        """Names and labels of all series at /metrics."""
        url = f"http://127.0.0.1:{self.ports.gateway_http}/metrics"
        with urllib.request.urlopen(url, timeout=30) as answer:
            lines = answer.read().decode().splitlines()
        return {line.rpartition(" ")[0] for line in lines if not line.startswith("#")}

    def resident_mib(self) -> float:
        """Memory that the process has now, in MiB."""
        return resident_mib(self.pid)

    def peak_mib(self) -> float:
        """Most memory that the process has had since `forget_peak`, in MiB."""
        return status_mib(self.pid, "VmHWM")

    def forget_peak(self) -> None:
        """Let the kernel measure the peak anew."""
        Path(f"/proc/{self.pid}/clear_refs").write_text(_CLEAR_PEAK)


@contextmanager
def gateway_process(
    directory: Path,
    services: Path = _SERVICES,
    environment: Mapping[str, str] | None = None,
    module: str = "creditline.gateway",
) -> Iterator[GatewayProcess]:
    """Start a gateway with one API key, and end it after the block.

    Args:
        directory: Its ledger and its log are written here.
        services: Source root of the gateway to start.
        environment: More of its environment: the services that it depends on, which are all down otherwise.
        module: Module that runs it.
    """
    ports = StackPorts.free()
    variables = {
        **{name: value for name, value in os.environ.items() if not name.startswith("CREDITLINE_")},
        "PYTHONPATH": str(services),
        "CREDITLINE_API_KEYS": API_KEY,
        "CREDITLINE_GATEWAY_GRPC_PORT": str(ports.gateway_grpc),
        "CREDITLINE_GATEWAY_HTTP_PORT": str(ports.gateway_http),
        "CREDITLINE_LEDGER_URL": f"sqlite:///{directory}/ledger.db",
        "CREDITLINE_BROKER_URL": f"redis://{_NOBODY}/0",
        "CREDITLINE_EMBEDDER_TARGET": _NOBODY,
        "CREDITLINE_QDRANT_GRPC_PORT": "9",
        **(environment or {}),
    }
    with (directory / "gateway.log").open("w") as log:
        process = subprocess.Popen([sys.executable, "-m", module], env=variables, stderr=log)
        try:
            gateway = GatewayProcess(process.pid, ports)
            wait_until(lambda: grpc_serves(gateway.target), "the gateway serves")
            yield gateway
        finally:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
