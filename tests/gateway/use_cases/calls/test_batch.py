"""Several pictures in one call, and pictures that keep coming."""

from __future__ import annotations

import asyncio
import gc
import queue
import uuid
from base64 import b64encode
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc import code_pb2

from creditline.api.error_metadata import read_status
from creditline.errors import InvalidInput, Unavailable
from creditline.gateway.delivery import Delivery
from creditline.gateway.use_cases.calls.batch import as_ready
from creditline.release import Release
from creditline.v1.attribution_pb2 import AttributeRequest, BatchAttributeRequest, StreamAttributeRequest
from creditline.v1.attribution_pb2_grpc import AttributionStub
from tests.gateway.conftest import GENERATOR, RunningGateway, gateway_settings, running_gateway
from tests.gateway.pictures_made_up import as_file, red_square
from tests.gateway.served import Served
from tests.processes import wait_until

_SECONDS = 120
_ANSWERED = 40
_PICTURE = as_file(red_square(), "PNG")


def _message(**changes: Any) -> AttributeRequest:
    fields = {"image": _PICTURE, "prompt": "a red square", "generator": GENERATOR, "k": 3}
    return AttributeRequest(**{**fields, **changes})


def _body(**changes: Any) -> dict[str, Any]:
    return {"image": b64encode(_PICTURE).decode(), "prompt": "a red square", **changes}


def _rows(served: Served) -> int:
    with served.ledger() as ledger:
        return ledger.verify_chain().attributions


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_batch_answers_each_request_and_a_failing_one_leaves_the_others(served: Served) -> None:
    before, twice = _rows(served), str(uuid.uuid4())
    asked = [
        _message(),
        _message(image=b"no picture"),
        _message(k=1),
        _message(prompt=""),
        _message(request_id=twice),
        _message(request_id=twice),
    ]
    with grpc.insecure_channel(served.gateway.target) as channel:
        batch = BatchAttributeRequest(requests=asked)
        results = AttributionStub(channel).BatchAttribute(batch, timeout=_SECONDS).results
    assert [each.WhichOneof("result") for each in results] == [
        *("response", "error", "response", "error", "response", "response")
    ]
    assert [len(each.response.works) for each in results] == [3, 0, 1, 0, 3, 3]
    assert results[4] == results[5]
    refused = [read_status(results[number].error) for number in (1, 3)]
    assert [(type(each), each.field) for each in refused] == [
        (InvalidInput, "image"),
        (InvalidInput, "prompt"),
    ]
    assert _rows(served) == before + 3


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_batch_over_http_has_a_problem_where_a_request_failed(served: Served) -> None:
    body = {"requests": [_body(k=2), _body(prompt=" "), _body()]}
    with served.gateway.http() as http:
        answer = http.post("/v1/attributions:batch", json=body, timeout=_SECONDS)
    assert answer.status_code == 200
    first, second, third = answer.json()["results"]
    assert (len(first["response"]["works"]), first["error"], third["error"]) == (2, None, None)
    assert second["response"] is None
    assert (second["error"]["status"], second["error"]["field"]) == (400, "prompt")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_stream_answers_each_request_under_its_id(served: Served) -> None:
    asked = [
        StreamAttributeRequest(id=str(number), request=_message(k=number) if number else None)
        for number in range(12)
    ]
    with grpc.insecure_channel(served.gateway.target) as channel:
        answers = list(AttributionStub(channel).StreamAttribute(iter(asked), timeout=_SECONDS))
    assert sorted(int(each.id) for each in answers) == list(range(12))
    for each in answers:
        assert len(each.response.works) == int(each.id)
        assert each.HasField("error") == (each.id == "0")


@pytest.fixture
def fresh_gateway(tmp_path: Path, release: Release) -> Iterator[RunningGateway]:
    """A gateway like `lonely_gateway` that no other test has called: its breakers are closed."""
    with running_gateway(gateway_settings(tmp_path, release)) as gateway:
        yield gateway


def test_a_stream_goes_on_after_failures_and_says_what_failed(fresh_gateway: RunningGateway) -> None:
    def asked() -> Iterator[StreamAttributeRequest]:
        for number in range(20):
            yield StreamAttributeRequest(id=str(number), request=_message())

    with grpc.insecure_channel(fresh_gateway.target) as channel:
        answers = list(AttributionStub(channel).StreamAttribute(asked(), timeout=_SECONDS))
    assert {each.id for each in answers} == {str(number) for number in range(20)}
    assert {each.error.code for each in answers} == {code_pb2.UNAVAILABLE}
    failed = read_status(answers[0].error)
    assert isinstance(failed, Unavailable)
    assert (failed.service, failed.retry_after_seconds) == ("embedder", 1.0)


def test_a_stream_keeps_nothing_of_what_it_has_answered(fresh_gateway: RunningGateway) -> None:
    others, asked = _deliveries(), queue.SimpleQueue[StreamAttributeRequest | None]()
    for number in range(_ANSWERED):
        asked.put(StreamAttributeRequest(id=str(number), request=_message()))
    with grpc.insecure_channel(fresh_gateway.target) as channel:
        answers = AttributionStub(channel).StreamAttribute(iter(asked.get, None), timeout=_SECONDS)
        assert len({next(answers).id for _ in range(_ANSWERED)}) == _ANSWERED
        # Gateways of other tests may run in this process.
        wait_until(lambda: _deliveries() - others < _ANSWERED // 2, "answers are forgotten", seconds=10)
        asked.put(None)
        assert list(answers) == []


def _deliveries() -> int:
    gc.collect()
    return sum(isinstance(each, Delivery) for each in gc.get_objects())


def test_a_stream_with_an_undecodable_message_ends_as_the_callers_error(
    lonely_gateway: RunningGateway,
) -> None:
    with grpc.insecure_channel(lonely_gateway.target) as channel:
        stream = channel.stream_stream("/creditline.v1.Attribution/StreamAttribute")
        with pytest.raises(grpc.RpcError) as refused:
            list(stream(iter([b"\xff\xff"]), timeout=_SECONDS))
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize("count", [0, 33])
def test_a_batch_of_no_or_too_many_requests_is_refused(lonely_gateway: RunningGateway, count: int) -> None:
    with lonely_gateway.http() as http:
        answer = http.post("/v1/attributions:batch", json={"requests": [_body()] * count})
    assert (answer.status_code, answer.json()["field"]) == (400, "requests")
    with grpc.insecure_channel(lonely_gateway.target) as channel, pytest.raises(grpc.RpcError) as refused:
        AttributionStub(channel).BatchAttribute(BatchAttributeRequest(requests=[_message()] * count))
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_no_more_is_read_than_is_answered_at_once() -> None:
    async def scenario() -> tuple[list[int], int, int]:
        read, running, most_running = 0, 0, 0
        gate = asyncio.Semaphore(0)

        async def requests() -> AsyncIterator[int]:
            nonlocal read
            for number in range(10):
                read += 1
                yield number

        async def answer(number: int) -> int:
            nonlocal running, most_running
            running += 1
            most_running = max(most_running, running)
            await gate.acquire()
            running -= 1
            return number

        ready = as_ready(requests(), answer, most=3)
        first = asyncio.ensure_future(anext(ready))
        await asyncio.sleep(0.05)
        read_before = read
        for _ in range(10):
            gate.release()
        return [await first, *[each async for each in ready]], read_before, most_running

    answers, read_before, most_running = asyncio.run(scenario())
    assert sorted(answers) == list(range(10))
    assert read_before == most_running == 3


def test_a_stream_that_ends_early_leaves_nothing_running() -> None:
    async def scenario() -> list[str]:
        ended: list[str] = []

        async def requests() -> AsyncIterator[int]:
            try:
                yield 0
                yield 1
                await asyncio.sleep(60)
            finally:
                ended.append("requests")

        async def answer(number: int) -> int:
            try:
                await asyncio.sleep(60 * number)
            finally:
                ended.append(f"answer {number}")
            return number

        ready = as_ready(requests(), answer, most=3)
        assert await anext(ready) == 0
        await asyncio.sleep(0.05)
        await ready.aclose()
        return ended

    assert sorted(asyncio.run(scenario())) == ["answer 0", "answer 1", "requests"]
