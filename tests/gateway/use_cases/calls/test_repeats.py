"""Requests with an id, through whole gateways: the same answer on both faces, and one row."""

from __future__ import annotations

import uuid
from base64 import b64encode
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest

from creditline.gateway.use_cases.calls.repeats import request_key
from creditline.gateway.use_cases.requests import AttributionRequest
from creditline.v1.attribution_pb2 import AttributeRequest
from creditline.v1.attribution_pb2_grpc import AttributionStub
from tests.gateway.conftest import GENERATOR, RunningGateway, running_gateway
from tests.gateway.pictures_made_up import as_file, red_square
from tests.gateway.served import Served

_SECONDS = 120
_PICTURE = as_file(red_square(), "PNG")


def _message(request_id: str, **changes: Any) -> AttributeRequest:
    fields = {"image": _PICTURE, "prompt": "a red square", "generator": GENERATOR, "k": 3}
    return AttributeRequest(**{**fields, "request_id": request_id, **changes})


def _sent(gateway: RunningGateway, message: AttributeRequest) -> bytes:
    with grpc.insecure_channel(gateway.target) as channel:
        return AttributionStub(channel).Attribute(message, timeout=_SECONDS).SerializeToString()


def _posted(gateway: RunningGateway, body: dict[str, Any], **headers: str) -> httpx.Response:
    with gateway.http(headers=headers) as http:
        return http.post("/v1/attributions", json=body, timeout=_SECONDS)


def _body(**changes: Any) -> dict[str, Any]:
    image = b64encode(_PICTURE).decode()
    return {"image": image, "prompt": "a red square", "generator": GENERATOR, "k": 3, **changes}


def _rows(served: Served) -> int:
    with served.ledger() as ledger:
        return ledger.verify_chain().attributions


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_same_request_gets_the_same_bytes_on_both_faces(served: Served) -> None:
    request_id, before = str(uuid.uuid4()), _rows(served)
    first, again = (_sent(served.gateway, _message(request_id)) for _ in range(2))
    assert first == again
    in_json = [
        _posted(served.gateway, _body(request_id=request_id)),
        _posted(served.gateway, _body(), **{"Idempotency-Key": request_id}),
        _posted(served.gateway, _body(), **{"Idempotency-Key": f'"{request_id}"'}),
    ]
    assert [answer.status_code for answer in in_json] == [200] * 3
    assert len({answer.content for answer in in_json}) == 1
    assert _rows(served) == before + 1


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_another_request_under_the_same_id_is_a_conflict(served: Served) -> None:
    request_id = str(uuid.uuid4())
    assert _posted(served.gateway, _body(request_id=request_id)).status_code == 200
    for changes in ({"k": 4}, {"prompt": "a blue square"}, {"licence": ["PD"]}, {"generator": ""}):
        answer = _posted(served.gateway, _body(request_id=request_id, **changes))
        assert (answer.status_code, answer.json()["field"]) == (409, "request_id")
    with pytest.raises(grpc.RpcError) as refused:
        _sent(served.gateway, _message(request_id, k=4))
    assert refused.value.code() is grpc.StatusCode.ALREADY_EXISTS


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_requests_of_one_id_at_once_over_two_gateways_are_recorded_once(
    served: Served, tmp_path: Path
) -> None:
    request_id, before = str(uuid.uuid4()), _rows(served)
    with running_gateway(served.settings) as second, ThreadPoolExecutor(8) as threads:
        gateways = [served.gateway, second] * 4
        answers = set(threads.map(lambda gateway: _sent(gateway, _message(request_id)), gateways))
    assert len(answers) == 1
    assert _rows(served) == before + 1


@pytest.mark.parametrize("request_id", ["two words", "ä", "x" * 129, "\x7f"])
def test_an_id_of_another_form_is_refused_by_name(lonely_gateway: RunningGateway, request_id: str) -> None:
    answer = _posted(lonely_gateway, _body(request_id=request_id))
    assert (answer.status_code, answer.json()["field"]) == (400, "request_id")
    with pytest.raises(grpc.RpcError) as refused:
        _sent(lonely_gateway, _message(request_id))
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize(
    ("header", "own", "status", "field"),
    [
        ("", "own", 400, "Idempotency-Key"),
        ("two words", "", 400, "request_id"),
        ("two words", "own", 503, None),
    ],
    ids=["empty", "wrong", "the field goes before"],
)
def test_a_header_that_is_no_id_is_refused_unless_the_field_has_one(
    lonely_gateway: RunningGateway, header: str, own: str, status: int, field: str | None
) -> None:
    answer = _posted(lonely_gateway, _body(request_id=own), **{"Idempotency-Key": header})
    assert (answer.status_code, answer.json().get("field")) == (status, field)


def test_a_request_that_failed_can_be_sent_again_under_its_id(lonely_gateway: RunningGateway) -> None:
    for _ in range(2):
        assert _posted(lonely_gateway, _body(request_id="failing")).status_code == 503


def test_every_part_of_a_request_is_a_part_of_what_identifies_it() -> None:
    def key(**changes: Any) -> str:
        fields: dict[str, Any] = {"image": b"a", "prompt": "b", "generator": "c", "request_id": "d"}
        return request_key(AttributionRequest(**{**fields, **changes})).digest

    others = [key(image=b"b"), key(prompt="c"), key(generator=""), key(k=9), key(release="live")]
    assert len({key(), *others}) == 6
    assert key() == key(caller="museum") == key(request_id="e")
