"""`python -m creditline.gateway` as a process: it serves, stops on a signal, and loads only what it needs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from creditline.client import CreditlineClient
from creditline.errors import InvalidInput
from creditline.local.health import grpc_serves
from creditline.local.services import StackPorts
from creditline.release import Release
from tests.gateway.conftest import NOBODY, RunningGateway, gateway_settings, running_gateway

_START_SECONDS = 120
# Formats of sources, upgrades of a ledger, jobs, counts of limited keys, pages: what needs them loads them.
_NEVER_AT_A_START = {
    "alembic",
    "celery",
    "creditline.corpus.sources",
    "creditline.index.ingest",
    "httpx",
    "markdown_it",
    "pandas",
    "pyarrow.compute",
    "pyarrow.dataset",
    "pyrate_limiter",
    "qdrant_client.http",
    "torch",
}
# A thread loads them as soon as the gateway serves, for readiness.
_AFTER_A_START = {"kombu", "opentelemetry.sdk", "redis"}


def _environment(directory: Path, release: Release, ports: StackPorts) -> dict[str, str]:
    outside = {name: value for name, value in os.environ.items() if not name.startswith("CREDITLINE_")}
    return {
        **outside,
        "CREDITLINE_GATEWAY_GRPC_PORT": str(ports.gateway_grpc),
        "CREDITLINE_GATEWAY_HTTP_PORT": str(ports.gateway_http),
        "CREDITLINE_LEDGER_URL": f"sqlite:///{directory}/ledger.db",
        "CREDITLINE_RELEASE_DIRECTORY": str(release.directory),
        "CREDITLINE_BROKER_URL": f"redis://{NOBODY}/0",
        "CREDITLINE_EMBEDDER_TARGET": NOBODY,
    }


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_process_serves_until_it_gets_a_stop_signal_and_ends_with_0(
    tmp_path: Path, release: Release, number: signal.Signals
) -> None:
    ports = StackPorts.free()
    target = f"127.0.0.1:{ports.gateway_grpc}"
    process = subprocess.Popen(
        [sys.executable, "-m", "creditline.gateway"],
        env=_environment(tmp_path, release, ports),
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        until = time.monotonic() + _START_SECONDS
        while not grpc_serves(target):
            assert process.poll() is None
            assert time.monotonic() < until
            time.sleep(0.1)
        with CreditlineClient(target) as client:
            assert client.release().release.name == release.name
        process.send_signal(number)
        _, said = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 0
    assert "gateway ready" in said
    assert "Traceback" not in said


def test_two_gateways_cannot_share_a_port(
    lonely_gateway: RunningGateway, release: Release, tmp_path: Path
) -> None:
    for name, address in (
        ("gateway_grpc_port", lonely_gateway.target),
        ("gateway_http_port", lonely_gateway.url),
    ):
        taken = int(address.rsplit(":", 1)[1])
        settings = gateway_settings(tmp_path, release, **{name: taken})
        with (
            pytest.raises(InvalidInput, match=f"set CREDITLINE_{name.upper()}") as refused,
            running_gateway(settings),
        ):
            pass
        assert refused.value.field == name


def _printed(program: str, *arguments: str, **variables: str) -> set[str]:
    """The words that a program prints."""
    ended = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=_START_SECONDS,
    )
    assert ended.returncode == 0, ended.stderr
    return set(ended.stdout.split())


def test_the_gateway_never_loads_torch() -> None:
    program = "import sys, creditline.gateway.server, creditline.client; print('torch' in sys.modules)"
    assert _printed(program) == {"False"}


def test_a_process_that_starts_loads_only_what_answers_need() -> None:
    program = "import sys, creditline.gateway.process; print(*sys.modules)"
    loaded = _printed(program)
    assert "creditline.gateway.server" in loaded
    assert loaded & (_NEVER_AT_A_START | _AFTER_A_START) == set()


def test_a_gateway_that_serves_has_loaded_only_what_answers_need(tmp_path: Path) -> None:
    program = """
import asyncio, sys
from creditline.gateway.server import Gateway
from creditline.gateway.settings import GatewaySettings
from creditline.settings import read_settings

async def serve():
    async with Gateway(read_settings(GatewaySettings)):
        print(*sys.modules)

asyncio.run(serve())
"""
    loaded = _printed(
        program,
        CREDITLINE_GATEWAY_GRPC_PORT="0",
        CREDITLINE_GATEWAY_HTTP_PORT="0",
        CREDITLINE_LEDGER_URL=f"sqlite:///{tmp_path}/ledger.db",
    )
    assert "creditline.gateway.server" in loaded
    assert loaded & _NEVER_AT_A_START == set()
