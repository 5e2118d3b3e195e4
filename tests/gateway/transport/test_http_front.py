"""The front of the HTTP API: before the key nothing is read, and every failure is a problem of one shape."""

from __future__ import annotations

import base64
import json
import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from creditline.gateway.transport.limits import Limits
from creditline.release import Release
from tests.gateway.conftest import GENERATOR, RunningGateway, gateway_settings, running_gateway
from tests.gateway.pictures_made_up import as_file, red_square
from tests.processes import wait_until

_PNG = as_file(red_square(), "PNG")
_KEY = {"Authorization": "Bearer right"}
_ATTRIBUTIONS = "/v1/attributions"
_WAIT_SECONDS = 20


@pytest.fixture
def http(locked_gateway: RunningGateway) -> Iterator[httpx.Client]:
    with locked_gateway.http(headers=_KEY) as http:
        yield http


@pytest.fixture(scope="module")
def impatient_gateway(tmp_path_factory: pytest.TempPathFactory, release: Release) -> Iterator[RunningGateway]:
    limits = Limits(head_seconds=0.5, chunk_seconds=0.5, linger_seconds=0.5, linger_bytes=1 << 20)
    settings = gateway_settings(tmp_path_factory.mktemp("impatient"), release)
    with running_gateway(settings, limits) as gateway:
        yield gateway


def _address(gateway: RunningGateway) -> tuple[str, int]:
    host, port = gateway.url.removeprefix("http://").rsplit(":", 1)
    return host, int(port)


def _exchange(gateway: RunningGateway, *parts: bytes) -> tuple[int, dict[str, Any]]:
    """Status and JSON body of the answer to raw bytes on a connection that the gateway then closes."""
    with socket.create_connection(_address(gateway), timeout=_WAIT_SECONDS) as connection:
        for part in parts:
            connection.sendall(part)
        answer = _all_of(connection)
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)


def _all_of(connection: socket.socket) -> bytes:
    """What comes until the other side closes the connection."""
    received = b""
    while chunk := connection.recv(1 << 16):
        received += chunk
    return received


def _series(gateway: RunningGateway) -> set[str]:
    with gateway.http() as http:
        lines = http.get("/metrics").text.splitlines()
    return {line.rpartition(" ")[0] for line in lines if not line.startswith("#")}


def test_without_a_key_the_answer_comes_before_the_body(locked_gateway: RunningGateway) -> None:
    head = (
        b"POST /v1/attributions HTTP/1.1\r\nHost: x\r\nContent-Length: 20000000\r\nConnection: close\r\n\r\n"
    )
    started = time.monotonic()
    status, problem = _exchange(locked_gateway, head)
    assert (status, problem["field"]) == (401, "authorization")
    assert time.monotonic() - started < 5


def test_a_refusal_says_how_to_authenticate(locked_gateway: RunningGateway) -> None:
    with locked_gateway.http() as http:
        answer = http.get("/v1/releases/live")
    assert answer.headers["www-authenticate"] == 'Bearer realm="creditline"'


def test_a_key_of_other_letters_is_a_wrong_key(locked_gateway: RunningGateway) -> None:
    with locked_gateway.http() as http:
        answer = http.get(
            "/v1/releases/live", headers={"Authorization": "Bearer schlüssel".encode("latin-1")}
        )
    assert answer.status_code == 401


def test_hostile_requests_without_a_key_add_no_series(locked_gateway: RunningGateway) -> None:
    before = _series(locked_gateway)
    with locked_gateway.http() as http:
        for number in range(20):
            http.request(f"M{number}", f"/v1/nothing{number}")
            http.request(f"M{number}", f"/nothing{number}")
            http.request("DELETE", "/healthz")
            http.head("/healthz")
            http.get(f"/v1/works/{number}", headers={"x-request-id": str(number)})
            http.post("/metrics", content=b"x" * number)
    assert _exchange(locked_gateway, b"nonsense\r\n\r\n")[0] == 400
    assert _series(locked_gateway) == before


@pytest.mark.parametrize(
    ("given", "echoed"), [("mine-1.b:2", "mine-1.b:2"), ("a b", "[0-9a-f]{32}"), ("x" * 65, "[0-9a-f]{32}")]
)
def test_the_id_of_a_request_is_echoed_where_it_is_safe_to_log(
    http: httpx.Client, given: str, echoed: str
) -> None:
    for path in ("/v1/releases/live", "/v1/releases/none", "/nothing", "/healthz"):
        answer = http.get(path, headers={"X-Request-Id": given})
        assert re.fullmatch(echoed, answer.headers["x-request-id"])
        if answer.status_code >= 400:
            assert answer.json()["request_id"] == answer.headers["x-request-id"]


def test_an_unavailable_service_says_when_to_try_again(http: httpx.Client) -> None:
    answer = http.post(_ATTRIBUTIONS, files={"image": ("q", _PNG)}, data={"prompt": "a red square"})
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")


@pytest.mark.parametrize("path", ["/healthz", "/v1/releases/live", "/v1/releases/none", "/openapi.json"])
def test_head_is_get_without_a_body(http: httpx.Client, path: str) -> None:
    got, headed = http.get(path), http.head(path)
    assert (headed.status_code, headed.content) == (got.status_code, b"")
    assert headed.headers["content-type"] == got.headers["content-type"]


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("DELETE", "/v1/withdrawals", "GET, HEAD, POST"),
        ("DELETE", _ATTRIBUTIONS, "GET, HEAD, POST"),
        ("GET", f"{_ATTRIBUTIONS}:batch", "POST"),
        ("HEAD", f"{_ATTRIBUTIONS}:batch", "POST"),
        ("MAKE-UP", "/healthz", "GET, HEAD"),
    ],
)
def test_a_wrong_method_is_told_which_are_right(
    http: httpx.Client, method: str, path: str, allowed: str
) -> None:
    answer = http.request(method, path)
    assert (answer.status_code, answer.headers["allow"]) == (405, allowed)
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("path", ["/nothing", "/v1/nothing", "/v1/audits/", "/redoc"])
def test_a_route_that_does_not_exist_is_named(http: httpx.Client, path: str) -> None:
    answer = http.get(path)
    assert answer.status_code == 404
    assert path in answer.json()["detail"]


def test_a_picture_comes_in_a_form_or_in_json(http: httpx.Client) -> None:
    picture = base64.b64encode(_PNG).decode()
    for body in (
        {"json": {"image": picture, "prompt": "a red square", "k": 3, "licence": ["PD"]}},
        {
            "files": {"image": ("q", _PNG)},
            "data": {"prompt": "a red square", "k": "3", "licence": ["PD", "CC0"]},
        },
    ):
        answer = http.post(_ATTRIBUTIONS, **body)
        # As far as the embedder, which is down: the picture has been decoded.
        assert (answer.status_code, answer.json()["service"]) == (503, "embedder")


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"image": "no base64"}, "image"),
        ({"image": 3}, "image"),
        ({"image": None}, "image"),
        ({"k": "3"}, "k"),
        ({"prompt": " "}, "prompt"),
        ({"prompt": None}, "prompt"),
        ({"colour": "red"}, "colour"),
        ({"licence": "PD"}, "licence"),
    ],
)
def test_json_with_a_wrong_or_unknown_field_is_refused_by_its_name(
    http: httpx.Client, changes: dict[str, Any], field: str
) -> None:
    body = {"image": base64.b64encode(_PNG).decode(), "prompt": "a red square", **changes}
    answer = http.post(_ATTRIBUTIONS, json=body)
    assert (answer.status_code, answer.json()["field"]) == (400, field)


@pytest.mark.parametrize(
    ("parts", "field"),
    [
        ([("prompt", (None, "a")), ("prompt", (None, "b"))], "prompt"),
        ([("image", ("q", _PNG)), ("prompt", (None, "a")), ("k", (None, "1")), ("k", (None, "2"))], "k"),
        ([("image", ("q", _PNG)), ("prompt", (None, "a")), ("colour", (None, "red"))], "colour"),
        ([("image", ("q", _PNG)), ("prompt", ("p.txt", b"a"))], "prompt"),
    ],
)
def test_a_part_that_is_sent_twice_or_unknown_is_refused_by_its_name(
    http: httpx.Client, parts: list[Any], field: str
) -> None:
    answer = http.post(_ATTRIBUTIONS, files=parts)
    assert (answer.status_code, answer.json()["field"]) == (400, field)


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("/v1/audits", {"attribution_id": "0" * 32, "extra": 1}, "extra"),
        ("/v1/withdrawals", {"kind": "WORK", "subject": "x", "allow_unknown": "yes"}, "allow_unknown"),
        ("/v1/withdrawals", {"kind": "WORK", "subject": "x" * 100_000}, "subject"),
        ("/v1/contributors/merges", {"person": {"name": "a", "age": 3}, "other": {"name": "b"}}, "age"),
        ("/v1/contributors/merges", {"person": {"name": "a"}, "other": {"name": "b" * 100_000}}, "other"),
    ],
)
def test_other_bodies_are_read_as_strictly(
    http: httpx.Client, path: str, body: dict[str, Any], field: str
) -> None:
    answer = http.post(path, json=body)
    assert (answer.status_code, answer.json()["field"]) == (400, field)


@pytest.mark.parametrize(
    ("query", "field"),
    [("history=yes", "history"), ("limit=1e2", "limit"), ("limit=1&limit=2", "limit"), ("order=up", "order")],
)
def test_a_wrong_query_is_refused_by_its_name(http: httpx.Client, query: str, field: str) -> None:
    answer = http.get(f"/v1/withdrawals?{query}")
    assert (answer.status_code, answer.json()["field"]) == (400, field)


@pytest.mark.parametrize(
    ("path", "media_type"),
    [
        (_ATTRIBUTIONS, "application/x-www-form-urlencoded"),
        (_ATTRIBUTIONS, "image/png"),
        ("/v1/audits", "text/plain"),
        ("/v1/audits", ""),
    ],
)
def test_a_body_of_another_media_type_is_refused_with_the_right_ones(
    http: httpx.Client, path: str, media_type: str
) -> None:
    answer = http.post(path, content=b"{}", headers={"Content-Type": media_type} if media_type else {})
    assert answer.status_code == 415
    assert "application/json" in answer.json()["detail"]


def test_ids_may_hold_slashes(http: httpx.Client) -> None:
    for path in ("/v1/works/a/b", "/v1/works/a%2Fb", "/v1/works/a%2Fthumbnail", "/v1/works/a/b/thumbnail"):
        answer = http.get(path)
        assert (answer.status_code, answer.json()["type"]) == (404, "urn:creditline:error:NotFound")
    assert "'a/thumbnail'" in http.get("/v1/works/a%2Fthumbnail").json()["detail"]
    assert "'a/b'" in http.get("/v1/works/a/b/thumbnail").json()["detail"]


def test_a_caller_can_state_how_long_it_waits(http: httpx.Client) -> None:
    form = {"files": {"image": ("q", _PNG)}, "data": {"prompt": "a red square", "generator": GENERATOR}}
    late = http.post(_ATTRIBUTIONS, headers={"X-Request-Timeout": "0.000001"}, **form)
    assert (late.status_code, "1e-06 s passed" in late.json()["detail"]) == (504, True)
    wrong = http.post(_ATTRIBUTIONS, headers={"X-Request-Timeout": "soon"}, **form)
    assert (wrong.status_code, wrong.json()["field"]) == (400, "X-Request-Timeout")


def test_the_time_that_a_caller_states_begins_when_its_request_does(locked_gateway: RunningGateway) -> None:
    body = json.dumps({"image": base64.b64encode(_PNG).decode(), "prompt": "a red square"}).encode()
    start = f"POST {_ATTRIBUTIONS} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n".encode()
    rest = (
        f"Authorization: Bearer right\r\nX-Request-Timeout: 1\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    ).encode() + body
    with socket.create_connection(_address(locked_gateway), timeout=_WAIT_SECONDS) as connection:
        # A connection that waits has no request yet.
        time.sleep(1.2)
        connection.sendall(start + rest)
        in_time = _all_of(connection)
    assert b"504" not in in_time.split(b"\r\n")[0], in_time
    with socket.create_connection(_address(locked_gateway), timeout=_WAIT_SECONDS) as connection:
        connection.sendall(start)
        time.sleep(1.2)
        connection.sendall(rest)
        late = _all_of(connection)
    assert late.startswith(b"HTTP/1.1 504 "), late
    assert b"1 s passed" in late


def test_a_head_beyond_the_limit_is_refused(locked_gateway: RunningGateway, http: httpx.Client) -> None:
    assert http.get("/healthz", headers={"X-Long": "x" * 17_000}).status_code == 431
    endless = b"GET / HTTP/1.1\r\nX-Long: " + b"x" * 200_000
    status, problem = _exchange(locked_gateway, endless)
    assert (status, problem["status"]) == (431, 431)


def test_what_is_no_http_is_a_problem_too(locked_gateway: RunningGateway) -> None:
    status, problem = _exchange(locked_gateway, b"GET / HTTP/1.1\r\nNo colon\r\n\r\n")
    assert (status, problem["title"]) == (400, "Bad Request")


def test_a_broken_chunk_ends_its_request_without_a_trace(
    locked_gateway: RunningGateway, caplog: pytest.LogCaptureFixture
) -> None:
    head = (
        b"POST /v1/audits HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer right\r\n"
        b"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"
    )
    assert _exchange(locked_gateway, head, b"no length\r\n")[0] == 400
    assert "Traceback" not in caplog.text


def test_a_caller_that_leaves_while_it_sends_is_counted_without_a_trace(
    locked_gateway: RunningGateway, caplog: pytest.LogCaptureFixture
) -> None:
    name = 'creditline_gateway_requests_total{code="499",method="POST /v1/audits",protocol="http"}'
    head = (
        b"POST /v1/audits HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer right\r\n"
        b"Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
    )
    with socket.create_connection(_address(locked_gateway), timeout=_WAIT_SECONDS) as connection:
        connection.sendall(head)
        time.sleep(0.1)
    wait_until(lambda: name in _series(locked_gateway), "the request is counted")
    assert "Traceback" not in caplog.text


@pytest.mark.parametrize(
    "sent",
    [
        b"GET /healthz HT",
        b"POST /v1/audits HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 9\r\n"
        b"\r\n{",
    ],
)
def test_a_request_that_comes_too_slowly_is_refused(impatient_gateway: RunningGateway, sent: bytes) -> None:
    status, problem = _exchange(impatient_gateway, sent)
    assert (status, problem["status"]) == (408, 408)


def test_a_connection_without_a_request_is_closed(impatient_gateway: RunningGateway) -> None:
    with socket.create_connection(_address(impatient_gateway), timeout=_WAIT_SECONDS) as connection:
        assert connection.recv(1) == b""


def test_a_refused_caller_cannot_go_on_sending(impatient_gateway: RunningGateway) -> None:
    head = b"POST /nothing HTTP/1.1\r\nHost: x\r\nContent-Length: 9000000000\r\n\r\n"
    with socket.create_connection(_address(impatient_gateway), timeout=_WAIT_SECONDS) as connection:
        connection.sendall(head)
        assert connection.recv(1 << 16).startswith(b"HTTP/1.1 413")
        with pytest.raises(OSError, match=r"reset|[Bb]roken"):
            connection.sendall(bytes(64 << 20))


def test_requests_beyond_the_capacity_are_refused_at_once(tmp_path: Path, release: Release) -> None:
    settings = gateway_settings(tmp_path, release)
    with running_gateway(settings, Limits(requests=0)) as gateway, gateway.http() as http:
        answer = http.get("/v1/releases/live")
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "1")


def test_the_contract_lists_every_status_and_the_key(http: httpx.Client) -> None:
    document = http.get("/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    attribute = document["paths"][_ATTRIBUTIONS]["post"]
    assert {"200", "400", "401", "408", "413", "415", "429", "431", "503", "504"} <= set(
        attribute["responses"]
    )
    assert set(attribute["requestBody"]["content"]) == {"multipart/form-data", "application/json"}
    assert "422" not in json.dumps(document)
    scheme = next(iter(attribute["security"][0]))
    assert document["components"]["securitySchemes"][scheme]["scheme"] == "bearer"
    limit = next(
        each for each in document["paths"]["/v1/withdrawals"]["get"]["parameters"] if each["name"] == "limit"
    )
    assert (limit["schema"]["minimum"], limit["schema"]["maximum"]) == (1, 1_000)
    assert "share_low" in document["components"]["schemas"]["CreditedWork"]["required"]


@pytest.mark.parametrize(("k", "status"), [(3.0, 503), (3.5, 400), (True, 400), (0.0, 400)])
def test_a_whole_number_may_have_a_point_as_in_the_contract(
    http: httpx.Client, k: float, status: int
) -> None:
    image = base64.b64encode(as_file(red_square(), "PNG")).decode()
    answer = http.post(_ATTRIBUTIONS, json={"image": image, "prompt": "a red square", "k": k})
    assert answer.status_code == status
