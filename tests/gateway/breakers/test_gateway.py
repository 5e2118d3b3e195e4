"""A gateway whose embedder is silent: after some requests that waited in vain, requests fail at once."""

from __future__ import annotations

import socket
import time
from pathlib import Path

import grpc
import httpx

from creditline.release import Release
from creditline.v1 import attribution_pb2
from creditline.v1.attribution_pb2_grpc import AttributionStub
from tests.gateway.conftest import GENERATOR, gateway_settings, running_gateway
from tests.gateway.pictures_made_up import as_file, red_square

_PNG = as_file(red_square(), "PNG")
# The first ones may wait for less than a second, which says nothing.
_MOST_REQUESTS = 12


def _ask(http: httpx.Client) -> httpx.Response:
    return http.post("/v1/attributions", files={"image": ("q", _PNG)}, data={"prompt": "red"})


def test_a_silent_embedder_is_left_alone_and_both_faces_say_when_to_retry(
    tmp_path: Path, release: Release
) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        target = f"127.0.0.1:{listener.getsockname()[1]}"
        settings = gateway_settings(tmp_path, release, embedder_target=target, request_timeout_seconds=1.2)
        with running_gateway(settings) as gateway, gateway.http() as http:
            for _ in range(_MOST_REQUESTS):
                began = time.monotonic()
                answer = _ask(http)
                assert answer.status_code in {503, 504}
                if "failures in a row" in answer.json()["detail"]:
                    break
            assert time.monotonic() - began < 0.9
            assert (answer.status_code, answer.json()["service"]) == (503, "embedder")
            assert "5 failures in a row" in answer.json()["detail"]
            assert int(answer.headers["Retry-After"]) >= 1
            request = attribution_pb2.AttributeRequest(image=_PNG, prompt="red", generator=GENERATOR)
            with grpc.insecure_channel(gateway.target) as channel:
                call = AttributionStub(channel).Attribute.future(request, timeout=0.9)
                assert call.code() is grpc.StatusCode.UNAVAILABLE
            assert "failures in a row" in call.details()
            metrics = http.get("/metrics").text
            assert 'creditline_gateway_breaker_openings_total{service="embedder"} 1.0' in metrics
