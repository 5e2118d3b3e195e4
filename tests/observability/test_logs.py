"""Lines of the log in JSON, from a real gateway process."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import grpc
import httpx
import pytest

from creditline.errors import InvalidInput
from creditline.observability.settings import ObservedSettings
from creditline.observability.tracing import span, trace_headers, tracing
from creditline.v1.attribution_pb2 import AttributeRequest
from creditline.v1.attribution_pb2_grpc import AttributionStub
from creditline.v1.catalog_pb2 import GetWorkRequest
from creditline.v1.catalog_pb2_grpc import CatalogStub
from tests.benchmarks.load.gateway_process import API_KEY, GatewayProcess, gateway_process
from tests.observability.collector import Collector, running_collector
from tests.processes import wait_until

_PROMPT = "an unmistakable prompt"
_PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("logs")


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with running_collector() as running:
        yield running


@pytest.fixture(scope="module")
def gateway(directory: Path, collector: Collector) -> Iterator[GatewayProcess]:
    """A gateway whose other services are down, with traces and a log of JSON lines, after some requests."""
    environment = {
        "CREDITLINE_LOG_FORMAT": "json",
        "CREDITLINE_TRACES": collector.endpoint,
        "CREDITLINE_COMMIT": "0123abc",
        "OTEL_BSP_SCHEDULE_DELAY": "100",
    }
    with gateway_process(directory, environment=environment) as running:
        _send_requests(running)
        yield running


def _send_requests(gateway: GatewayProcess) -> None:
    key = {"authorization": f"Bearer {API_KEY}", "x-request-id": "r-1", "traceparent": _PARENT}
    with httpx.Client(base_url=f"http://127.0.0.1:{gateway.ports.gateway_http}", trust_env=False) as http:
        answer = http.post(
            "/v1/attributions", headers=key, files={"image": b"no picture"}, data={"prompt": _PROMPT}
        )
        assert answer.status_code == 400
        assert http.get("/v1/withdrawals").status_code == 401
    metadata = (("authorization", f"Bearer {API_KEY}"),)
    with grpc.insecure_channel(gateway.target) as channel, pytest.raises(grpc.RpcError, match="NOT_FOUND"):
        CatalogStub(channel).GetWork(GetWorkRequest(id="no-such-work"), metadata=metadata, timeout=30)
    asked = AttributeRequest(image=b"no picture", prompt=_PROMPT)
    with grpc.insecure_channel(gateway.target) as channel, pytest.raises(grpc.RpcError, match="INVALID_ARG"):
        AttributionStub(channel).Attribute(asked, metadata=metadata, timeout=30)


def _lines(directory: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (directory / "gateway.log").read_text().splitlines()]


def test_every_line_is_one_json_object_with_time_level_and_service(
    gateway: GatewayProcess, directory: Path
) -> None:
    lines = _lines(directory)
    assert len(lines) > 3
    for line in lines:
        assert {"time", "level", "service", "logger", "message"} <= set(line)
        assert datetime.fromisoformat(str(line["time"])).tzinfo is not None
        assert line["service"] == "gateway"


def test_a_request_is_one_line_with_its_ids_and_outcome(gateway: GatewayProcess, directory: Path) -> None:
    (line,) = [line for line in _lines(directory) if line.get("request_id") == "r-1"]
    assert line["message"] == "POST /v1/attributions"
    assert (line["protocol"], line["outcome"], line["refusal"]) == ("http", "400", "")
    assert line["trace_id"] == _PARENT.split("-")[1]
    assert float(str(line["seconds"])) > 0.0


def test_a_refused_request_is_a_line_with_the_reason(gateway: GatewayProcess, directory: Path) -> None:
    refused = [line for line in _lines(directory) if line.get("refusal")]
    assert [(line["outcome"], line["refusal"]) for line in refused] == [("401", "unauthenticated")]


def test_neither_log_nor_trace_holds_prompts_or_keys(
    gateway: GatewayProcess, directory: Path, collector: Collector
) -> None:
    wait_until(lambda: len(collector.spans(kind=2)) >= 4, "the requests' spans are exported")
    for text in ((directory / "gateway.log").read_text(), repr(collector.spans())):
        assert "attributions" in text
        assert _PROMPT not in text
        assert API_KEY not in text


def test_the_spans_of_both_faces_have_the_outcome_and_the_callers_trace(
    gateway: GatewayProcess, collector: Collector
) -> None:
    wait_until(lambda: len(collector.spans(kind=2)) >= 4, "the requests' spans are exported")
    (posted,) = collector.spans(name="POST /v1/attributions")
    assert posted.trace_id == _PARENT.split("-")[1]
    assert posted.attributes["http.response.status_code"] == 400
    (called,) = collector.spans(name="/creditline.v1.Catalog/GetWork")
    assert called.attributes["rpc.grpc.status_code"] == 5
    (attributed,) = collector.spans(name="/creditline.v1.Attribution/Attribute")
    assert attributed.attributes["rpc.grpc.status_code"] == 3
    checks = {span.parent_id for span in collector.spans(name="check")}
    assert checks == {posted.span_id, attributed.span_id}


def test_the_framework_makes_no_spans_of_its_own(gateway: GatewayProcess, collector: Collector) -> None:
    wait_until(lambda: len(collector.spans(kind=2)) >= 4, "the requests' spans are exported")
    assert [span.name for span in collector.spans() if "url.path" in span.attributes] == []
    assert [span.name for span in collector.spans() if span.name.startswith("fastapi")] == []


def test_polls_of_the_ledger_are_no_traces(gateway: GatewayProcess, collector: Collector) -> None:
    own = {span.span_id for span in collector.spans()}
    lone = [span.name for span in collector.spans(kind=3) if span.parent_id not in own]
    assert lone == []


def test_an_exemplar_carries_the_trace_of_its_request(gateway: GatewayProcess) -> None:
    url = f"http://127.0.0.1:{gateway.ports.gateway_http}/metrics"
    text = httpx.get(url, headers={"accept": "application/openmetrics-text"}, trust_env=False).text
    buckets = [line for line in text.splitlines() if "request_seconds_bucket" in line and "POST" in line]
    (exemplar,) = [line for line in buckets if " # " in line]
    assert f'trace_id="{_PARENT.split("-")[1]}"' in exemplar
    assert 'commit="0123abc"' in text


def test_nothing_is_traced_by_default() -> None:
    with tracing("test", ObservedSettings()), span("check") as started:
        assert started is None
        assert trace_headers() == {}


def test_traces_without_their_packages_are_refused_with_a_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    monkeypatch.delitem(sys.modules, "creditline.observability._instrumentation", raising=False)
    with (
        pytest.raises(InvalidInput, match=r"install creditline\[traces\]"),
        tracing("test", ObservedSettings(traces="http://127.0.0.1:9")),
    ):
        raise AssertionError("traces are on")


def test_a_collector_that_is_down_does_not_hold_up_the_end(tmp_path: Path) -> None:
    down = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}
    with gateway_process(tmp_path, environment=down) as gateway:
        _send_requests(gateway)
        began = time.monotonic()
    assert time.monotonic() - began < 8.0
