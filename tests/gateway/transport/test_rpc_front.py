"""The front of the gRPC API: before the key nothing is read, and every failure has its details."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RequestInfo, RetryInfo
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from grpc_status import rpc_status

from creditline.gateway.transport.limits import Limits
from creditline.release import Release
from creditline.v1.attribution_pb2 import AttributeRequest
from creditline.v1.attribution_pb2_grpc import AttributionStub
from tests.gateway.conftest import RunningGateway, gateway_settings, running_gateway
from tests.gateway.pictures_made_up import as_file, red_square

_KEY = (("authorization", "Bearer right"),)
_ATTRIBUTE = "/creditline.v1.Attribution/Attribute"
_PICTURE = AttributeRequest(image=as_file(red_square(), "PNG"), prompt="a red square")
_SERVING = health_pb2.HealthCheckResponse.SERVING
# Calls of which each would be reported, and the loggers of those who handle a call.
_CALLS = 5
_OF_CALLS = ("grpc", "asyncio", "creditline.gateway.transport")
_NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


@pytest.fixture
def channel(locked_gateway: RunningGateway) -> Iterator[grpc.Channel]:
    options = [("grpc.max_send_message_length", 64 << 20)]
    with grpc.insecure_channel(locked_gateway.target, options=options) as channel:
        yield channel


def _failed(call: Any, *arguments: Any, **options: Any) -> Any:
    with pytest.raises(grpc.RpcError) as failure:
        call(*arguments, timeout=10, **options)
    return failure.value


def _details(failure: Any, kind: type[Any]) -> list[Any]:
    found = []
    for detail in rpc_status.from_call(failure).details:
        message = kind()
        if detail.Unpack(message):
            found.append(message)
    return found


def _metrics(gateway: RunningGateway) -> str:
    with gateway.http() as http:
        return http.get("/metrics").text


def _refusals(gateway: RunningGateway, reason: str) -> float:
    name = f'creditline_gateway_refusals_total{{protocol="grpc",reason="{reason}"}} '
    return next(
        float(line.removeprefix(name)) for line in _metrics(gateway).splitlines() if line.startswith(name)
    )


def test_without_a_key_a_call_is_refused_though_its_message_never_comes(channel: grpc.Channel) -> None:
    never = threading.Event()

    def no_message() -> Iterator[bytes]:
        never.wait(20)
        yield b""

    started = time.monotonic()
    try:
        failure = _failed(channel.stream_unary(_ATTRIBUTE), no_message())
    finally:
        never.set()
    assert failure.code() is grpc.StatusCode.UNAUTHENTICATED
    assert time.monotonic() - started < 5


@pytest.mark.parametrize(
    ("metadata", "code", "reason"),
    [
        ((), grpc.StatusCode.UNAUTHENTICATED, "unauthenticated"),
        (_KEY, grpc.StatusCode.INVALID_ARGUMENT, "malformed"),
    ],
)
def test_undecodable_bytes_are_an_error_of_the_caller_and_counted(
    locked_gateway: RunningGateway,
    channel: grpc.Channel,
    caplog: pytest.LogCaptureFixture,
    metadata: Any,
    code: grpc.StatusCode,
    reason: str,
) -> None:
    before = _refusals(locked_gateway, reason)
    for call in range(1, _CALLS + 1):
        failure = _failed(channel.unary_unary(_ATTRIBUTE), b"\xff\xff\xff", metadata=metadata)
        assert failure.code() is code
        assert _refusals(locked_gateway, reason) == before + call
    assert not [record for record in caplog.records if record.name.startswith(_OF_CALLS)]
    # Gateways of this process also report what befalls them in the background, but not with every call.
    places = Counter((record.pathname, record.lineno) for record in caplog.records)
    assert max(places.values(), default=0) < _CALLS


def test_a_method_that_does_not_exist_is_counted_without_its_name(
    locked_gateway: RunningGateway, channel: grpc.Channel
) -> None:
    before = _refusals(locked_gateway, "not_found")
    failure = _failed(channel.unary_unary("/creditline.v1.Attribution/Guess"), b"")
    assert failure.code() is grpc.StatusCode.UNIMPLEMENTED
    assert _refusals(locked_gateway, "not_found") == before + 1
    assert "Guess" not in _metrics(locked_gateway)


def test_a_message_beyond_the_limit_is_refused(channel: grpc.Channel) -> None:
    failure = _failed(channel.unary_unary(_ATTRIBUTE), bytes(22 << 20), metadata=_KEY)
    assert failure.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_an_invalid_field_is_named_in_the_details_of_the_status(channel: grpc.Channel) -> None:
    metadata = (*_KEY, ("x-request-id", "mine-1"))
    failure = _failed(AttributionStub(channel).Attribute, AttributeRequest(prompt=" "), metadata=metadata)
    (info,), (request,) = _details(failure, ErrorInfo), _details(failure, RequestInfo)
    (violation,) = _details(failure, BadRequest)[0].field_violations
    assert (info.reason, info.domain, dict(info.metadata)) == (
        "INVALID_INPUT",
        "creditline",
        {"field": "prompt"},
    )
    assert (violation.field, violation.description) == ("prompt", failure.details())
    assert request.request_id == "mine-1"
    assert ("x-request-id", "mine-1") in failure.trailing_metadata()
    assert not _details(failure, RetryInfo)


def test_an_unavailable_service_says_when_to_try_again(channel: grpc.Channel) -> None:
    failure = _failed(AttributionStub(channel).Attribute, _PICTURE, metadata=_KEY)
    assert failure.code() is grpc.StatusCode.UNAVAILABLE
    assert _details(failure, RetryInfo)[0].retry_delay.ToMilliseconds() == 1000
    assert _details(failure, ErrorInfo)[0].metadata["service"] == "embedder"


def test_an_id_that_is_not_safe_to_log_is_replaced(channel: grpc.Channel) -> None:
    metadata = (*_KEY, ("x-request-id", "a b\x7fc"[:3]))
    failure = _failed(AttributionStub(channel).Attribute, AttributeRequest(), metadata=metadata)
    echoed = dict(failure.trailing_metadata())["x-request-id"]
    assert len(echoed) == 32


def test_a_message_that_comes_too_slowly_ends_its_call(tmp_path: Path, release: Release) -> None:
    never = threading.Event()

    def no_message() -> Iterator[bytes]:
        never.wait(20)
        yield b""

    settings = gateway_settings(tmp_path, release)
    with running_gateway(settings, Limits(receive_seconds=0.3)) as gateway:
        try:
            with grpc.insecure_channel(gateway.target) as channel:
                failure = _failed(channel.stream_unary(_ATTRIBUTE), no_message())
        finally:
            never.set()
    assert failure.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert "did not arrive within 0.3 s" in failure.details()


def test_calls_beyond_the_capacity_are_refused_at_once(tmp_path: Path, release: Release) -> None:
    settings = gateway_settings(tmp_path, release)
    with running_gateway(settings, Limits(requests=0)) as gateway:
        with grpc.insecure_channel(gateway.target) as channel:
            failure = _failed(AttributionStub(channel).Attribute, _PICTURE)
        assert failure.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert _details(failure, RetryInfo)
        assert _refusals(gateway, "overloaded") == 1


async def _refused_beyond(target: str, held: int) -> Any:
    async with grpc.aio.insecure_channel(target) as channel:
        attribute = channel.stream_unary(_ATTRIBUTE)
        calls = [attribute(timeout=30) for _ in range(held)]
        await asyncio.gather(*(call.wait_for_connection() for call in calls))
        with pytest.raises(grpc.aio.AioRpcError) as failure:
            await attribute([b""], timeout=10)
        for call in calls:
            call.cancel()
    return failure.value


def test_one_connection_can_hold_more_calls_than_are_answered(tmp_path: Path, release: Release) -> None:
    # Where a connection's calls reach its limit of streams, some callers cancel and others call, the core of
    # grpcio 1.85.1 resets streams (REFUSED_STREAM): since PR grpc/grpc#34642 it lowers its limit after each
    # reset that it receives. Those callers read UNAVAILABLE, and no word of ours.
    held = Limits().requests
    with running_gateway(gateway_settings(tmp_path, release)) as gateway:
        failure = asyncio.run(_refused_beyond(gateway.target, held))
        assert failure.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert _details(failure, RetryInfo)
        assert _refusals(gateway, "overloaded") == 1


def test_reflection_lists_the_services_to_callers_with_a_key(
    locked_gateway: RunningGateway, channel: grpc.Channel
) -> None:
    class WithKey(grpc.StreamStreamClientInterceptor):
        def intercept_stream_stream(self, continuation: Any, details: Any, requests: Any) -> Any:
            return continuation(details._replace(metadata=_KEY), requests)

    listed = ProtoReflectionDescriptorDatabase(grpc.intercept_channel(channel, WithKey())).get_services()
    assert "creditline.v1.Attribution" in listed
    with pytest.raises(grpc.RpcError) as failure:
        list(ProtoReflectionDescriptorDatabase(channel).get_services())
    assert failure.value.code() is grpc.StatusCode.UNAUTHENTICATED


def test_health_follows_what_each_service_needs(channel: grpc.Channel) -> None:
    stub, states = health_pb2_grpc.HealthStub(channel), {}
    until = time.monotonic() + 20
    while states.get("Catalog") != _SERVING and time.monotonic() < until:
        for service in ("Attribution", "Catalog"):
            asked = health_pb2.HealthCheckRequest(service=f"creditline.v1.{service}")
            states[service] = stub.Check(asked, timeout=5).status
        time.sleep(0.05)
    assert states == {"Attribution": _NOT_SERVING, "Catalog": _SERVING}
    assert next(stub.Watch(health_pb2.HealthCheckRequest(), timeout=5)).status == _SERVING


def test_an_undecodable_health_check_is_an_error_of_the_caller(channel: grpc.Channel) -> None:
    failure = _failed(channel.unary_unary("/grpc.health.v1.Health/Check"), b"\xff\xff\xff")
    assert failure.code() is grpc.StatusCode.INVALID_ARGUMENT
