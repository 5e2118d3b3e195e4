"""Limits of decoding as callers of the gateway meet them, and the end of a gateway that is decoding."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from creditline.client import CreditlineClient
from creditline.errors import CreditlineError, InvalidInput
from creditline.release import Release
from tests.benchmarks.load.gateway_process import API_KEY, gateway_process
from tests.gateway.conftest import GENERATOR, gateway_settings, running_gateway
from tests.gateway.decoding.test_pool import LARGE

# The grace, and time for the processes to end on a machine that is busy with other tests.
_GRACE_SECONDS = 1.0
_STOP_SECONDS = 7.0


def test_over_both_faces_a_picture_that_passes_a_limit_is_the_callers_error_and_names_the_limit(
    tmp_path: Path, release: Release
) -> None:
    settings = gateway_settings(tmp_path, release, decode_cpu_seconds=0.02)
    with running_gateway(settings) as gateway, gateway.client() as client, gateway.http() as http:
        with pytest.raises(InvalidInput, match=r"0\.02 s of processor time") as refused:
            client.attribute(LARGE, prompt="red", generator=GENERATOR)
        assert refused.value.field == "image"
        answer = http.post("/v1/attributions", files={"image": ("q", LARGE)}, data={"prompt": "red"})
        assert (answer.status_code, answer.json()["field"]) == (400, "image")
        assert "0.02 s of processor time" in answer.json()["detail"]
        metrics = http.get("/metrics").text
        assert 'creditline_gateway_decode_refusals_total{reason="time"} 2.0' in metrics
        assert 'creditline_gateway_decoders{lane="ordinary"} 2.0' in metrics


def test_a_gateway_stops_within_its_grace_while_pictures_are_decoded(tmp_path: Path) -> None:
    stopping = threading.Event()

    def send(target: str) -> None:
        with CreditlineClient(target, api_key=API_KEY) as client:
            while not stopping.is_set():
                try:
                    client.attribute(LARGE, prompt="red", timeout_seconds=5)
                except CreditlineError:
                    stopping.wait(0.01)

    with ThreadPoolExecutor(8) as callers:
        grace = {"CREDITLINE_STOP_GRACE_SECONDS": f"{_GRACE_SECONDS:g}"}
        with gateway_process(tmp_path, environment=grace) as gateway:
            for _ in range(8):
                callers.submit(send, gateway.target)
            time.sleep(0.5)
            stopping.set()
            began = time.monotonic()
        seconds = time.monotonic() - began
    assert seconds < _STOP_SECONDS
    assert "Traceback" not in (tmp_path / "gateway.log").read_text()
