"""The front of the gRPC API: what happens to a call before its message is believed, and after it failed.

grpc.aio reads and parses the message of a unary call before it runs the handler. Here every call runs as a
streamed one without a deserializer, so that the handler decides whether the message is read at all; on the
wire there is no difference. Until it is read, the transport holds no more of it than HTTP/2's window.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import grpc
from google.protobuf.message import DecodeError

from creditline.api.error_metadata import STATUS_KEY, error_metadata, status_details
from creditline.errors import CreditlineError, InvalidInput, ReceiveTimeout, ResourceExhausted
from creditline.gateway.access.caller import Authenticator, charge_attributions, current_caller
from creditline.gateway.admission.admission import Admission
from creditline.gateway.delivery import Delivery, DeliveryMarks, current_delivery
from creditline.gateway.metrics import GatewayMetrics
from creditline.gateway.transport.limits import Limits
from creditline.gateway.transport.problems import (
    INTERNAL_MESSAGE,
    problem_of,
    refusal_of,
    retry_after_seconds,
)
from creditline.gateway.transport.request_ids import REQUEST_ID, current_request_id, request_id_of
from creditline.observability.logs import log_request

METHOD_PREFIX = "/creditline.v1."
# Charged once its message is read and the number of its pictures known.
_BATCH = "Attribution/BatchAttribute"
# Calls that wait for an answer: refused at once if that would come too late.
_ANSWERS = {"Attribution/Attribute", _BATCH}
_HEALTH_PREFIX = "/grpc.health."
_log = logging.getLogger(__name__)
_Handler = Callable[[Any, Any], Awaitable[Any]]
Received = TypeVar("Received")


class _Receiving:
    """Bounds how many messages are received at once, and how long one may take.

    Args:
        most: Number of messages that are received at the same time.
        seconds: Longest time for waiting and receiving.
    """

    def __init__(self, most: int, seconds: float) -> None:
        self._slots = asyncio.Semaphore(most)
        self._seconds = seconds

    async def __call__(self, receive: Callable[[], Awaitable[Received]]) -> Received:
        """Run `receive` in a slot. Raises ResourceExhausted when none was free, ReceiveTimeout."""
        started = False
        try:
            async with asyncio.timeout(self._seconds), self._slots:
                started = True
                return await receive()
        except TimeoutError as error:
            if started:
                raise ReceiveTimeout(
                    f"the message did not arrive within {self._seconds:g} s; send it faster"
                ) from error
            raise ResourceExhausted("too many messages are being received; send this one later") from error


@dataclass
class _Outcome:
    """How a call ended."""

    code: grpc.StatusCode = grpc.StatusCode.CANCELLED
    """Its status."""


class Front(grpc.aio.ServerInterceptor):
    """Interceptor of every call: checks key and message, translates errors, counts calls.

    All calls but health checks need a key. It is checked from the call's metadata; without one nothing of
    the message is read.

    Args:
        access: Establishes the caller of each call.
        admission: Refuses calls whose answer would come too late.
        marks: Marks answers that do not reach their callers.
        metrics: Counts calls.
        limits: Limits of what callers can hold or delay.
    """

    def __init__(
        self,
        access: Authenticator,
        admission: Admission,
        marks: DeliveryMarks,
        metrics: GatewayMetrics,
        limits: Limits,
    ) -> None:
        self._access = access
        self._admission = admission
        self._marks = marks
        self._metrics = metrics
        self._calls = 0
        metrics.count_in_flight("grpc", lambda: self._calls)
        self._most_calls = limits.requests
        self._receiving = _Receiving(limits.received, limits.receive_seconds)
        self._open_receiving = _Receiving(limits.open_received, limits.open_receive_seconds)

    async def intercept_service(self, continuation: Callable[[Any], Awaitable[Any]], details: Any) -> Any:
        """The handler of a call, behind the front; None, which means UNIMPLEMENTED, for unknown methods."""
        handler = await continuation(details)
        if handler is None:
            self._metrics.refused("grpc", "not_found")
            return None
        if details.method.startswith(_HEALTH_PREFIX):
            return self._open_to_all(handler)
        if handler.request_streaming:
            return self._streaming(details.method, handler)
        method = details.method.removeprefix(METHOD_PREFIX)
        call = self._call(method, handler)
        if method in _ANSWERS:
            return grpc.stream_stream_rpc_method_handler(
                self._delivering(call), response_serializer=handler.response_serializer
            )
        return grpc.stream_unary_rpc_method_handler(call, response_serializer=handler.response_serializer)

    def _delivering(self, call: _Handler) -> _Handler:
        """A call that sends its answer itself, as a stream of one, and so learns whether that worked."""

        async def deliver(stream: Any, context: Any) -> None:
            delivery = Delivery(self._marks)
            current_delivery.set(delivery)
            try:
                await _send(context, await call(stream, context))
                delivery.succeeded()
            except grpc.aio.AbortError as aborted:
                raise _without_frames(aborted) from None
            finally:
                delivery.end()

        return deliver

    def _open_to_all(self, handler: Any) -> Any:
        """A health check, unary or watching, without a key."""

        async def call(_stream: Any, context: Any) -> Any:
            async with self._refusing(context, request_id_of(())):
                message = await self._open_receiving(lambda: _received(handler, context))
            return await (handler.unary_stream or handler.unary_unary)(message, context)

        made = (
            grpc.stream_stream_rpc_method_handler
            if handler.response_streaming
            else grpc.stream_unary_rpc_method_handler
        )
        return made(call, response_serializer=handler.response_serializer)

    def _streaming(self, method: str, handler: Any) -> Any:
        """A streamed call: one of the API, or reflection."""

        async def call(stream: Any, context: Any) -> AsyncIterator[Any]:
            request_id = request_id_of(_metadata(context, REQUEST_ID))
            current_request_id.set(request_id)
            context.set_trailing_metadata(((REQUEST_ID, request_id),))
            with self._one_more_call():
                async with self._refusing(context, request_id):
                    self._refuse_beyond_capacity()
                    await self._authenticate(context)
                    await self._access.charge(current_caller.get(), attributions=0)
                current_delivery.set(Delivery(self._marks))
                async for response in self._responses(method, handler, stream, context):
                    yield response

        return grpc.stream_stream_rpc_method_handler(call, response_serializer=handler.response_serializer)

    def _call(self, method: str, handler: Any) -> _Handler:
        """A unary call of the API."""

        async def call(_stream: Any, context: Any) -> Any:
            request_id = request_id_of(_metadata(context, REQUEST_ID))
            current_request_id.set(request_id)
            context.set_trailing_metadata(((REQUEST_ID, request_id),))
            with self._one_more_call():
                async with self._refusing(context, request_id):
                    self._refuse_beyond_capacity()
                    await self._authenticate(context)
                    if method in _ANSWERS:
                        await self._admission.check(current_caller.get().owner, context.time_remaining())
                    if method != _BATCH:
                        attributions = int(method in _ANSWERS)
                        await self._access.charge(current_caller.get(), attributions=attributions)
                    message = await self._receiving(lambda: _received(handler, context))
                return await self._answer(method, handler, message, context)

        return call

    async def _answer(self, method: str, handler: Any, message: Any, context: Any) -> Any:
        started, ends = time.perf_counter(), _Outcome()
        try:
            async with self._failing(method, context, ends):
                response = await handler.unary_unary(message, context)
                ends.code = grpc.StatusCode.OK
                return response
        finally:
            self._count(method, ends, time.perf_counter() - started)

    @contextlib.asynccontextmanager
    async def _failing(self, method: str, context: Any, ends: _Outcome) -> AsyncIterator[None]:
        """End the call with the status of the error that the block raises."""
        try:
            yield
        except CreditlineError as error:
            ends.code = problem_of(error).grpc_status
            await _abort(context, error, current_request_id.get())
        except Exception:
            ends.code = grpc.StatusCode.INTERNAL
            request_id = current_request_id.get()
            _log.exception("%s failed (request %s)", method, request_id)
            await context.abort(ends.code, INTERNAL_MESSAGE, ((REQUEST_ID, request_id),))

    async def _responses(self, method: str, handler: Any, stream: Any, context: Any) -> AsyncIterator[Any]:
        """Responses of a streamed call; a method of the API is counted when it ends."""
        started, ends = time.perf_counter(), _Outcome()
        try:
            async with self._failing(method, context, ends):
                messages = self._messages(handler, stream, context)
                async with contextlib.aclosing(handler.stream_stream(messages, context)) as responses:
                    async for response in responses:
                        yield response
                ends.code = grpc.StatusCode.OK
        finally:
            if method.startswith(METHOD_PREFIX):
                self._count(method.removeprefix(METHOD_PREFIX), ends, time.perf_counter() - started)

    def _count(self, method: str, ends: _Outcome, seconds: float) -> None:
        code = ends.code.name
        self._metrics.observe_request("grpc", method, code, seconds)
        log_request(method, protocol="grpc", outcome=code, refusal="", seconds=round(seconds, 6))

    async def _messages(self, handler: Any, stream: Any, context: Any) -> AsyncIterator[Any]:
        """Messages of a streamed call. Its key is checked with each: it may be revoked meanwhile."""
        is_first = True
        async for raw in stream:
            if not is_first:
                await self._authenticate(context)
            is_first = False
            yield _parsed(handler, raw)

    async def _authenticate(self, context: Any) -> None:
        given = _metadata(context, "authorization")
        caller = await self._access.authenticate(given, address=context.peer())
        current_caller.set(caller)
        charge_attributions.set(partial(self._access.charge, caller))

    @contextlib.contextmanager
    def _one_more_call(self) -> Iterator[None]:
        self._calls += 1
        try:
            yield
        finally:
            self._calls -= 1

    def _refuse_beyond_capacity(self) -> None:
        if self._calls > self._most_calls:
            raise ResourceExhausted(f"{self._most_calls:,} calls are being answered; send this one later")

    @contextlib.asynccontextmanager
    async def _refusing(self, context: Any, request_id: str) -> AsyncIterator[None]:
        """End the call, and count it as refused, when the block raises a CreditlineError."""
        try:
            yield
        except CreditlineError as error:
            refusal = refusal_of(error)
            self._metrics.refused("grpc", refusal)
            outcome = problem_of(error).grpc_status.name
            log_request("other", protocol="grpc", outcome=outcome, refusal=refusal)
            await _abort(context, error, request_id)


def _without_frames(aborted: grpc.aio.AbortError) -> grpc.aio.AbortError:
    """The error without the frames that it passed, which hold the request and its picture.

    A call keeps its own error, whose frames refer to the call: until the next garbage collection both stay.
    """
    aborted.__context__ = None
    return aborted.with_traceback(None)


async def _send(context: Any, response: Any) -> None:
    """Send the message of an answer. Raises CancelledError when the caller has left."""
    try:
        await context.write(response)
    except grpc.aio.InternalError as error:
        raise asyncio.CancelledError("the caller left before the answer was sent") from error


async def _received(handler: Any, context: Any) -> Any:
    """The parsed message of a unary call. Raises InvalidInput."""
    raw = await context.read()
    if raw is grpc.aio.EOF:
        raise InvalidInput("the call carries no message, or a part of one; send one message")
    return _parsed(handler, raw)


def _parsed(handler: Any, raw: bytes) -> Any:
    try:
        return handler.request_deserializer(raw)
    except DecodeError as error:
        raise InvalidInput(
            f"the message of {len(raw):,} bytes is no valid protobuf of this method; generate the client "
            "from protos/creditline/v1"
        ) from error


async def _abort(context: Any, error: CreditlineError, request_id: str) -> None:
    """End the call with the error's status and details."""
    code, retry = problem_of(error).grpc_status, retry_after_seconds(error)
    details = status_details(error, code.value[0], request_id=request_id, retry_after_seconds=retry)
    metadata = (*error_metadata(error), (STATUS_KEY, details), (REQUEST_ID, request_id))
    await context.abort(code, error.message, metadata)


def _metadata(context: Any, name: str) -> list[str]:
    entries = context.invocation_metadata() or ()
    return [value for key, value in entries if key == name and isinstance(value, str)]
