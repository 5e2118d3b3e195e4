"""Handling around every call: deadlines, errors as gRPC statuses, metrics, and unsupported calls."""

from __future__ import annotations

import asyncio
import functools
import logging
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import NoReturn, Protocol, TypeVar, cast

import grpc
import grpc.aio
from google.protobuf.message import Message
from prometheus_client import CollectorRegistry, Counter, Histogram

from creditline.errors import Conflict, CreditlineError, InvalidInput, NotFound, ResourceExhausted
from creditline.local.qdrant.translation.unsupported import Unsupported

_LOGGER = logging.getLogger(__name__)
_LATENCY_BUCKETS_SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 2.0, 10.0)
_STATUS_OF: tuple[tuple[type[CreditlineError], grpc.StatusCode], ...] = (
    (InvalidInput, grpc.StatusCode.INVALID_ARGUMENT),
    (NotFound, grpc.StatusCode.NOT_FOUND),
    (Conflict, grpc.StatusCode.ALREADY_EXISTS),
    (Unsupported, grpc.StatusCode.UNIMPLEMENTED),
    (ResourceExhausted, grpc.StatusCode.RESOURCE_EXHAUSTED),
)
# Edge raises plain `Exception`; messages that begin like this mean an invalid request.
_INVALID_REQUEST_MESSAGES = (
    *("Vector dimension error", "Bad request", "Wrong input", "Not existing vector name"),
    "No appropriate index for faceting",
)
_DISK_FULL = "No space left on device"

_Servicer = TypeVar("_Servicer")
_Request = TypeVar("_Request", bound=Message)
_Answer = TypeVar("_Answer", bound=Message)

METRICS = CollectorRegistry()
_CALLS = Counter(
    "creditline_local_qdrant_calls_total", "Calls by method and status.", ("method", "code"), registry=METRICS
)
_SECONDS = Histogram(
    "creditline_local_qdrant_call_seconds",
    "Duration of a call in seconds.",
    ("method",),
    buckets=_LATENCY_BUCKETS_SECONDS,
    registry=METRICS,
)


class _Context(Protocol):
    """The methods of `grpc.aio.ServicerContext` that are used; grpc itself has no types."""

    def time_remaining(self) -> float | None: ...
    def cancelled(self) -> bool: ...
    async def abort(self, code: grpc.StatusCode, details: str) -> NoReturn: ...


class _TimedAnswer(Protocol):
    """An answer with the field `time`, in seconds."""

    time: float


def served(
    method: Callable[[_Servicer, _Request], _Answer],
) -> Callable[[_Servicer, _Request, _Context], Awaitable[_Answer]]:
    """Mark a servicer's method as supported: its errors become statuses, and its calls are counted and timed.

    The method runs in a thread of the process's pool, because it may wait for the disk or for other writers.
    """

    async def run(servicer: _Servicer, request: _Request, context: _Context) -> _Answer:
        def call() -> _Answer:
            _check_deadline(context)
            return method(servicer, request)

        return await asyncio.get_running_loop().run_in_executor(None, call)

    return _measured(method, run)


def served_at_once(
    method: Callable[[_Servicer, _Request], _Answer],
) -> Callable[[_Servicer, _Request, _Context], Awaitable[_Answer]]:
    """As `served`, for a read that never waits: the method runs on the event loop.

    Edge holds the GIL, so a thread would gain nothing, and handing the call over takes longer than most
    searches.
    """

    async def run(servicer: _Servicer, request: _Request, context: _Context) -> _Answer:
        _check_deadline(context)
        return method(servicer, request)

    return _measured(method, run)


def _measured(
    method: Callable[[_Servicer, _Request], _Answer],
    run: Callable[[_Servicer, _Request, _Context], Awaitable[_Answer]],
) -> Callable[[_Servicer, _Request, _Context], Awaitable[_Answer]]:
    """Wrap a method: count and time its calls, and abort with the status of an error."""

    @functools.wraps(method)
    async def call(servicer: _Servicer, request: _Request, context: _Context) -> _Answer:
        began = time.perf_counter()
        try:
            answer = await run(servicer, request, context)
        except asyncio.CancelledError:
            _finish(method.__name__, grpc.StatusCode.CANCELLED, began)
            raise
        except _DeadlinePassedError:
            _finish(method.__name__, grpc.StatusCode.DEADLINE_EXCEEDED, began)
            await context.abort(
                grpc.StatusCode.DEADLINE_EXCEEDED, "the deadline passed before the call began"
            )
        except Exception as error:
            code, details = _status(error)
            _finish(method.__name__, code, began)
            await context.abort(code, details)
        else:
            if "time" in answer.DESCRIPTOR.fields_by_name:
                cast("_TimedAnswer", answer).time = time.perf_counter() - began
            _finish(method.__name__, grpc.StatusCode.OK, began)
            return answer

    call.__dict__["served"] = True
    return call


class _DeadlinePassedError(Exception):
    """The caller no longer waits for an answer."""


def _check_deadline(context: _Context) -> None:
    remaining = context.time_remaining()
    if context.cancelled() or (remaining is not None and remaining <= 0):
        raise _DeadlinePassedError


def _status(error: Exception) -> tuple[grpc.StatusCode, str]:
    if isinstance(error, CreditlineError):
        for kind, code in _STATUS_OF:
            if isinstance(error, kind):
                return code, error.message
    if str(error).startswith(_INVALID_REQUEST_MESSAGES):
        return grpc.StatusCode.INVALID_ARGUMENT, str(error)
    if _DISK_FULL in str(error):
        return (
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            f"the disk is full; free disk space and try again ({error})",
        )
    _LOGGER.exception("unhandled error in a call")
    return grpc.StatusCode.INTERNAL, f"{type(error).__name__}: {error}"


def _finish(method: str, code: grpc.StatusCode, began: float) -> None:
    _CALLS.labels(method, code.name).inc()
    _SECONDS.labels(method).observe(time.perf_counter() - began)


class ServedCalls(grpc.GenericRpcHandler):
    """Dispatches calls to the servicer methods marked as supported; any other is UNIMPLEMENTED, by name.

    Generated code adds a servicer to it as to a server. An interceptor would add 50 µs to every call.
    """

    def __init__(self) -> None:
        self._services: list[grpc.GenericRpcHandler] = []

    def add_generic_rpc_handlers(self, handlers: Iterable[grpc.GenericRpcHandler]) -> None:
        """Add the methods of a servicer, supported or not."""
        self._services.extend(handlers)

    def add_registered_method_handlers(self, _service: str, _handlers: object) -> None:
        """Ignored: generated code registers the same methods again, for servers that look them up by name."""

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        """The handler of a call."""
        for service in self._services:
            handler = service.service(handler_call_details)
            if handler is not None and getattr(handler.unary_unary, "served", False):
                return handler
        return _unsupported(Unsupported(handler_call_details.method.removeprefix("/qdrant.")))


def _unsupported(error: Unsupported) -> grpc.RpcMethodHandler:
    async def abort(_request: bytes, context: _Context) -> None:
        await context.abort(grpc.StatusCode.UNIMPLEMENTED, error.message)

    return grpc.unary_unary_rpc_method_handler(abort)
