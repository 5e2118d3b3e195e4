"""OpenTelemetry's tracing of grpc.aio, mended where version 0.66b2 reports or does something else than gRPC.

- A call that its caller cancels would go on until its deadline, because the client's interceptor, which waits
  for it, takes the cancellation; that span would never end.
- On the server a cancelled call would have the status OK, and so would one that failed without a status.
- A streamed call whose handler writes its answers itself would fail: answers are taken from a generator only.
- Every call that a server aborts would carry the exception by which `abort` leaves the handler, twice and
  with a stack trace, even for a caller's mistake.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
from opentelemetry import trace
from opentelemetry.instrumentation.grpc import GrpcAioInstrumentorClient, filters
from opentelemetry.instrumentation.grpc._aio_client import UnaryUnaryAioClientInterceptor
from opentelemetry.instrumentation.grpc._aio_server import OpenTelemetryAioServerInterceptor
from opentelemetry.trace import Span, StatusCode

_STATUS = "rpc.grpc.status_code"
_UNKNOWN = grpc.StatusCode.UNKNOWN.value[0]
_CANCELLED = grpc.StatusCode.CANCELLED.value[0]


class ServerTracing(OpenTelemetryAioServerInterceptor):
    """Records each call of a server, but health checks.

    Args:
        tracer: Makes the spans.
    """

    def __init__(self, tracer: trace.Tracer) -> None:
        super().__init__(  # type: ignore[no-untyped-call]
            tracer, filter_=filters.negate(filters.health_check())
        )

    def _intercept_aio_server_unary(self, behavior: Any, handler_call_details: Any) -> Any:
        return super()._intercept_aio_server_unary(  # type: ignore[no-untyped-call]
            _ended(behavior), handler_call_details
        )

    def _intercept_aio_server_stream(self, behavior: Any, handler_call_details: Any) -> Any:
        if inspect.iscoroutinefunction(behavior):
            return self._intercept_aio_server_unary(behavior, handler_call_details)
        return super()._intercept_aio_server_stream(  # type: ignore[no-untyped-call]
            behavior, handler_call_details
        )


def _ended(behavior: Callable[[Any, Any], Awaitable[Any]]) -> Callable[[Any, Any], Awaitable[Any]]:
    """The handler of a call that shows on its span how it ended."""

    async def ended(request: Any, context: Any) -> Any:
        try:
            return await behavior(request, context)
        except grpc.aio.AbortError:
            # The call has its status already; gRPC raises the same error again after the handler.
            return None
        except asyncio.CancelledError:
            trace.get_current_span().set_attribute(_STATUS, _CANCELLED)
            raise
        except Exception:
            failed = trace.get_current_span()
            failed.set_attribute(_STATUS, _UNKNOWN)
            failed.set_status(StatusCode.ERROR)
            raise

    return ended


class _CallTracing(UnaryUnaryAioClientInterceptor):
    """Records unary calls of a client, cancelled ones too."""

    async def _wrap_unary_response(self, continuation: Any, span: Span) -> Any:
        calls: list[Any] = []

        async def started() -> Any:
            calls.append(await continuation())
            return calls[0]

        try:
            return await super()._wrap_unary_response(  # type: ignore[no-untyped-call]
                started, span
            )
        except BaseException as error:
            for call in calls:
                call.cancel()
            if isinstance(error, asyncio.CancelledError):
                span.set_attribute(_STATUS, _CANCELLED)
            span.set_status(StatusCode.ERROR, type(error).__name__)
            span.end()
            raise


class ClientTracing(GrpcAioInstrumentorClient):
    """Records the unary calls of every grpc.aio channel that is made after `instrument`."""

    def _add_interceptors(self, tracer_provider: Any, kwargs: Any) -> Any:
        tracing = _CallTracing(  # type: ignore[no-untyped-call]
            trace.get_tracer("creditline", tracer_provider=tracer_provider)
        )
        return {**kwargs, "interceptors": [tracing, *(kwargs.get("interceptors") or ())]}
