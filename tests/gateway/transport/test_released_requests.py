"""A request that failed is freed when it has ended: its picture does not wait for a garbage collection."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import Any

import grpc
import pytest

from creditline.gateway.use_cases.requests import AttributionRequest
from creditline.v1.attribution_pb2 import AttributeRequest, BatchAttributeRequest, StreamAttributeRequest
from creditline.v1.attribution_pb2_grpc import AttributionStub
from tests.gateway.conftest import GENERATOR, RunningGateway
from tests.gateway.pictures_made_up import as_file, red_square
from tests.processes import wait_until

_SECONDS = 60
_PICTURE = as_file(red_square(), "PNG")
_FAILING: dict[str, dict[str, Any]] = {
    "a service is down": {},
    "the picture is none": {"image": b"no picture"},
    "the prompt is empty": {"prompt": ""},
    "the release is another": {"release": "another"},
}


@pytest.fixture
def no_collection() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def _message(**changes: Any) -> AttributeRequest:
    fields = {"image": _PICTURE, "prompt": "a red square", "generator": GENERATOR, "k": 3}
    return AttributeRequest(**{**fields, **changes})


def _requests() -> int:
    return sum(type(each) is AttributionRequest for each in gc.get_objects())


@pytest.mark.parametrize("failing", _FAILING)
def test_a_call_that_failed_is_freed(
    lonely_gateway: RunningGateway, no_collection: None, failing: str
) -> None:
    before, message = _requests(), _message(**_FAILING[failing])
    with grpc.insecure_channel(lonely_gateway.target) as channel:
        for _ in range(3):
            with pytest.raises(grpc.RpcError):
                AttributionStub(channel).Attribute(message, timeout=_SECONDS)
    wait_until(lambda: _requests() <= before, "the requests are freed", seconds=5)


def test_failed_requests_of_batches_and_streams_are_freed(
    lonely_gateway: RunningGateway, no_collection: None
) -> None:
    before, messages = _requests(), [_message(**changes) for changes in _FAILING.values()]
    with grpc.insecure_channel(lonely_gateway.target) as channel:
        stub = AttributionStub(channel)
        batch = stub.BatchAttribute(BatchAttributeRequest(requests=messages), timeout=_SECONDS)
        assert all(each.HasField("error") for each in batch.results)
        asked = (StreamAttributeRequest(request=each) for each in messages)
        assert all(each.HasField("error") for each in stub.StreamAttribute(asked, timeout=_SECONDS))
    wait_until(lambda: _requests() <= before, "the requests are freed", seconds=5)


def test_a_request_over_http_that_failed_is_freed(
    lonely_gateway: RunningGateway, no_collection: None
) -> None:
    before = _requests()
    with lonely_gateway.http() as http:
        for image in (_PICTURE, b"no picture"):
            answer = http.post("/v1/attributions", files={"image": image}, data={"prompt": "red"})
            assert answer.is_error
    wait_until(lambda: _requests() <= before, "the requests are freed", seconds=5)
