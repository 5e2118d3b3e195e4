"""A service that the gateway needs is down: the error says which, where, and what to start."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from creditline.errors import DeadlineExceeded, Unavailable
from creditline.release import Release
from tests.gateway.conftest import GENERATOR, NOBODY, RunningGateway, gateway_settings, running_gateway
from tests.gateway.pictures_made_up import as_file, red_square

_PNG = as_file(red_square(), "PNG")


@pytest.fixture
def deaf_target() -> Iterator[str]:
    """A port that takes connections and never says a word."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield f"127.0.0.1:{listener.getsockname()[1]}"


def test_without_an_embedder_the_error_says_what_to_start(lonely_gateway: RunningGateway) -> None:
    with lonely_gateway.client() as client, pytest.raises(Unavailable) as down:
        client.attribute(_PNG, prompt="a red square", generator=GENERATOR)
    assert down.value.service == "embedder"
    assert NOBODY in down.value.message
    assert "start it with" in down.value.message


def test_without_an_embedder_rest_answers_503_and_names_it(lonely_gateway: RunningGateway) -> None:
    with lonely_gateway.http() as http:
        answer = http.post(
            "/v1/attributions",
            files={"image": ("q", _PNG)},
            data={"prompt": "a red square", "generator": GENERATOR},
        )
    assert (answer.status_code, answer.json()["service"]) == (503, "embedder")


def test_readiness_names_each_service_that_is_down_and_what_to_start(lonely_gateway: RunningGateway) -> None:
    with lonely_gateway.http() as http:
        answer = http.get("/readyz")
        metrics = http.get("/metrics").text
    states = {each["service"]: each for each in answer.json()["dependencies"]}
    assert (answer.status_code, answer.json()["ready"]) == (503, False)
    assert {name for name, state in states.items() if state["up"]} == {"decoder", "ledger"}
    assert all("start it with" in states[name]["message"] for name in ("embedder", "qdrant", "redis"))
    assert 'creditline_gateway_dependency_up{service="qdrant"} 0.0' in metrics
    assert 'creditline_gateway_dependency_up{service="ledger"} 1.0' in metrics


def test_the_callers_deadline_is_kept_when_the_embedder_is_silent(
    tmp_path: Path, release: Release, deaf_target: str
) -> None:
    settings = gateway_settings(tmp_path, release, embedder_target=deaf_target)
    with running_gateway(settings) as gateway, gateway.client() as client:
        started = time.monotonic()
        with pytest.raises(DeadlineExceeded):
            client.attribute(_PNG, prompt="a red square", generator=GENERATOR, timeout_seconds=1.0)
        assert 0.8 < time.monotonic() - started < 4.0


@pytest.mark.parametrize("protocol", ["grpc", "rest"])
def test_the_gateways_own_limit_holds_for_callers_without_a_deadline(
    tmp_path: Path, release: Release, deaf_target: str, protocol: str
) -> None:
    settings = gateway_settings(tmp_path, release, embedder_target=deaf_target, request_timeout_seconds=0.7)
    with running_gateway(settings) as gateway, gateway.client() as client, gateway.http() as http:
        if protocol == "grpc":
            with pytest.raises(DeadlineExceeded, match="allow more time"):
                client.attribute(_PNG, prompt="a red square", generator=GENERATOR)
        else:
            form = {"prompt": "a red square", "generator": GENERATOR}
            answer = http.post("/v1/attributions", files={"image": ("q", _PNG)}, data=form)
            assert answer.status_code == 504


def test_requests_and_stages_are_counted(lonely_gateway: RunningGateway) -> None:
    with lonely_gateway.http() as http:
        http.get("/v1/works/nobody")
        metrics = http.get("/metrics").text
    assert (
        'creditline_gateway_requests_total{code="404",method="GET /v1/works/{work_id}",protocol="http"}'
        in metrics
    )
    assert "creditline_gateway_request_seconds_bucket" in metrics
    assert "nobody" not in metrics
