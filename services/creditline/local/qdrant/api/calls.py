"""What surrounds every call: deadlines, errors as gRPC statuses, metrics, and calls that are not served."""

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
from creditline.local.qdrant.translation.unsupported import NotServed

_LOGGER = logging.getLogger(__name__)
_LATENCY_BUCKETS_SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 2.0, 10.0)
_STATUS_OF: tuple[tuple[type[CreditlineError], grpc.StatusCode], ...] = (
    (InvalidInput, grpc.StatusCode.INVALID_ARGUMENT),
    (NotFound, grpc.StatusCode.NOT_FOUND),
    (Conflict, grpc.StatusCode.ALREADY_EXISTS),
    (NotServed, grpc.StatusCode.UNIMPLEMENTED),
    (ResourceExhausted, grpc.StatusCode.RESOURCE_EXHAUSTED),
)
# Edge raises bare `Exception`; these are the messages that mean a wrong request.
_EDGE_REFUSALS = (
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
    "Seconds in a call.",
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
    """Mark a servicer's method as ours: it may raise CreditlineErrors, and is counted and timed.

    It runs in one of the process's threads, because it may wait: for the disk, for other writers.
    """

    async def run(servicer: _Servicer, request: _Request, context: _Context) -> _Answer:
        def call() -> _Answer:
            _refuse_if_too_late(context)
            return method(servicer, request)

        return await asyncio.get_running_loop().run_in_executor(None, call)

    return _around(method, run)


def served_at_once(
    method: Callable[[_Servicer, _Request], _Answer],
) -> Callable[[_Servicer, _Request, _Context], Awaitable[_Answer]]:
    """The same for a read that waits for nothing: it runs where the request came in.

    Edge holds the GIL, so a thread of its own would win it nothing, and the way there and back takes longer
    than most searches.
    """

    async def run(servicer: _Servicer, request: _Request, context: _Context) -> _Answer:
        _refuse_if_too_late(context)
        return method(servicer, request)

    return _around(method, run)


def _around(
    method: Callable[[_Servicer, _Request], _Answer],
    run: Callable[[_Servicer, _Request, _Context], Awaitable[_Answer]],
) -> Callable[[_Servicer, _Request, _Context], Awaitable[_Answer]]:
    """What all calls have in common: how long they took, and how they ended."""

    @functools.wraps(method)
    async def call(servicer: _Servicer, request: _Request, context: _Context) -> _Answer:
        began = time.perf_counter()
        try:
            answer = await run(servicer, request, context)
        except asyncio.CancelledError:
            _finish(method.__name__, grpc.StatusCode.CANCELLED, began)
            raise
        except _CallerGoneError:
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


class _CallerGoneError(Exception):
    """The caller has stopped waiting."""


def _refuse_if_too_late(context: _Context) -> None:
    remaining = context.time_remaining()
    if context.cancelled() or (remaining is not None and remaining <= 0):
        raise _CallerGoneError


def _status(error: Exception) -> tuple[grpc.StatusCode, str]:
    if isinstance(error, CreditlineError):
        for kind, code in _STATUS_OF:
            if isinstance(error, kind):
                return code, error.message
    if str(error).startswith(_EDGE_REFUSALS):
        return grpc.StatusCode.INVALID_ARGUMENT, str(error)
    if _DISK_FULL in str(error):
        return grpc.StatusCode.RESOURCE_EXHAUSTED, f"the disk is full: make room and try again ({error})"
    _LOGGER.exception("a call failed")
    return grpc.StatusCode.INTERNAL, f"{type(error).__name__}: {error}"


def _finish(method: str, code: grpc.StatusCode, began: float) -> None:
    _CALLS.labels(method, code.name).inc()
    _SECONDS.labels(method).observe(time.perf_counter() - began)


class ServedCalls(grpc.GenericRpcHandler):
    """Calls go to those methods of servicers that are marked as served; any other is refused, by name.

    Generated code adds a servicer to it as it would to a server; an interceptor would cost every call 50 µs.
    """

    def __init__(self) -> None:
        self._services: list[grpc.GenericRpcHandler] = []

    def add_generic_rpc_handlers(self, handlers: Iterable[grpc.GenericRpcHandler]) -> None:
        """The methods of a servicer, served or not."""
        self._services.extend(handlers)

    def add_registered_method_handlers(self, _service: str, _handlers: object) -> None:
        """The same methods once more, for servers that can look them up by name."""

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        """The method that answers a call."""
        for service in self._services:
            handler = service.service(handler_call_details)
            if handler is not None and getattr(handler.unary_unary, "served", False):
                return handler
        return _refusal(NotServed(handler_call_details.method.removeprefix("/qdrant.")))


def _refusal(refused: NotServed) -> grpc.RpcMethodHandler:
    async def refuse(_request: bytes, context: _Context) -> None:
        await context.abort(grpc.StatusCode.UNIMPLEMENTED, refused.message)

    return grpc.unary_unary_rpc_method_handler(refuse)
