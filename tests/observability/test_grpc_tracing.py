"""Statuses of traced gRPC calls are those that the calls had, and a cancelled call ends on the server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import grpc
import pytest
from opentelemetry.instrumentation.grpc import aio_client_interceptors, aio_server_interceptor
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from creditline.observability.grpc_tracing import ClientTracing, ServerTracing

_STATUS = "rpc.grpc.status_code"
_METHOD = "/creditline.v1.Test/Call"


@dataclass
class Outcome:
    """What became of one call."""

    spans: dict[SpanKind, ReadableSpan]
    server_cancelled: bool
    code: grpc.StatusCode


class _Calls(grpc.GenericRpcHandler):
    """A method that ends as its message says."""

    def __init__(self) -> None:
        self.cancelled = asyncio.Event()

    def service(self, _details: Any) -> Any:
        return grpc.unary_unary_rpc_method_handler(self._answer)

    async def _answer(self, message: bytes, context: Any) -> bytes:
        if message == b"fail":
            raise ValueError("not foreseen")
        if message == b"wait":
            try:
                await asyncio.sleep(30)
            except asyncio.CancelledError:
                self.cancelled.set()
                raise
        if message:
            await context.abort(getattr(grpc.StatusCode, message.decode()), "as asked")
        return b"done"


def _outcome(message: bytes, server_tracing: Callable[[Any], Any], client: Callable[[Any], Any]) -> Outcome:
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))

    async def call() -> tuple[bool, grpc.StatusCode]:
        calls = _Calls()
        server = grpc.aio.server(interceptors=(server_tracing(provider),))
        server.add_generic_rpc_handlers((calls,))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        code = grpc.StatusCode.OK
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", interceptors=client(provider)) as channel:
            try:
                async with asyncio.timeout(0.3):
                    await channel.unary_unary(_METHOD)(message)
            except grpc.aio.AioRpcError as error:
                code = error.code()
            except TimeoutError:
                code = grpc.StatusCode.CANCELLED
            try:
                async with asyncio.timeout(1.0 if message == b"wait" else 0.0):
                    await calls.cancelled.wait()
            except TimeoutError:
                pass
            cancelled = calls.cancelled.is_set()
        await server.stop(None)
        return cancelled, code

    cancelled, code = asyncio.run(call())
    return Outcome({span.kind: span for span in exporter.get_finished_spans()}, cancelled, code)


def _mended(message: bytes) -> Outcome:
    def client(provider: TracerProvider) -> Any:
        return ClientTracing()._add_interceptors(provider, {})["interceptors"]

    return _outcome(message, lambda provider: ServerTracing(provider.get_tracer("test")), client)


@pytest.mark.parametrize(
    ("message", "code", "server_status"),
    [
        (b"", grpc.StatusCode.OK, StatusCode.UNSET),
        (b"INVALID_ARGUMENT", grpc.StatusCode.INVALID_ARGUMENT, StatusCode.UNSET),
        (b"UNAVAILABLE", grpc.StatusCode.UNAVAILABLE, StatusCode.ERROR),
        (b"fail", grpc.StatusCode.UNKNOWN, StatusCode.ERROR),
        (b"wait", grpc.StatusCode.CANCELLED, StatusCode.UNSET),
    ],
)
def test_both_spans_have_the_status_of_the_call(
    message: bytes, code: grpc.StatusCode, server_status: StatusCode
) -> None:
    outcome = _mended(message)
    assert outcome.code is code
    server, client = outcome.spans[SpanKind.SERVER], outcome.spans[SpanKind.CLIENT]
    assert (server.attributes or {})[_STATUS] == (client.attributes or {})[_STATUS] == code.value[0]
    # A caller's mistake is none of the server's, but it is one of the call.
    assert server.status.status_code is server_status
    assert client.status.status_code is (StatusCode.UNSET if code is grpc.StatusCode.OK else StatusCode.ERROR)
    assert server.parent is not None
    assert server.parent.span_id == client.context.span_id


def test_a_refused_call_carries_no_exception() -> None:
    assert _mended(b"INVALID_ARGUMENT").spans[SpanKind.SERVER].events == ()


def test_a_call_that_its_caller_cancels_ends_on_the_server() -> None:
    assert _mended(b"wait").server_cancelled


def test_a_handler_that_writes_its_answers_itself_is_recorded() -> None:
    async def write(_messages: Any, context: Any) -> None:
        await context.read()
        await context.write(b"first")
        await context.write(b"second")

    class Writing(grpc.GenericRpcHandler):
        def service(self, _details: Any) -> Any:
            return grpc.stream_stream_rpc_method_handler(write)

    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))

    async def call() -> list[bytes]:
        server = grpc.aio.server(interceptors=(ServerTracing(provider.get_tracer("test")),))
        server.add_generic_rpc_handlers((Writing(),))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            answers = [answer async for answer in channel.stream_stream(_METHOD)(iter([b"message"]))]
        await server.stop(None)
        return answers

    assert asyncio.run(call()) == [b"first", b"second"]
    assert [span.name for span in exporter.get_finished_spans()] == [_METHOD]


def test_the_instrumentation_still_needs_to_be_mended() -> None:
    def plain(message: bytes) -> Outcome:
        return _outcome(
            message,
            lambda provider: aio_server_interceptor(tracer_provider=provider),
            lambda provider: aio_client_interceptors(tracer_provider=provider),
        )

    cancelled = plain(b"wait")
    assert not cancelled.server_cancelled
    assert SpanKind.CLIENT not in cancelled.spans
    assert len(plain(b"INVALID_ARGUMENT").spans[SpanKind.SERVER].events) == 2
    failed = plain(b"fail").spans[SpanKind.SERVER]
    assert (failed.attributes or {})[_STATUS] == grpc.StatusCode.OK.value[0]
