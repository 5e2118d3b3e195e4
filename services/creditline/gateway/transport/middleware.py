"""The front of the HTTP API: what happens to a request before its body is believed, and after it failed."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import MutableMapping
from functools import partial
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from creditline.errors import CreditlineError, ReceiveTimeout, RequestTooLarge, ResourceExhausted
from creditline.gateway.access.caller import Authenticator, charge_attributions, current_caller
from creditline.gateway.admission.admission import Admission
from creditline.gateway.delivery import Delivery, DeliveryMarks, current_delivery
from creditline.gateway.metrics import GatewayMetrics
from creditline.gateway.transport.http_connection import has_left, waited_seconds
from creditline.gateway.transport.limits import MOST_HEAD_BYTES, MOST_REQUEST_BYTES, Limits
from creditline.gateway.transport.presence import answer_while_present
from creditline.gateway.transport.problems import (
    INTERNAL_MESSAGE,
    PROBLEM_TYPE,
    HeadTooLarge,
    plain_problem,
    problem_body,
    problem_headers,
    problem_of,
    refusal_of,
)
from creditline.gateway.transport.request_ids import REQUEST_ID, current_request_id, request_id_of
from creditline.gateway.transport.routes import PROTECTED_PREFIX
from creditline.observability.logs import log_request
from creditline.observability.tracing import TRACE_PARENT, describe_http, http_server_span
from creditline.pictures.queries import MOST_BYTES

TIMEOUT_HEADER = "X-Request-Timeout"
"""Header that states the time in seconds after which the caller does not wait any more."""
GONE = 499
"""Status under which requests are counted whose caller left before the answer."""
_OK = 200
# Refusals by the application itself, which are counted as such whatever the route.
_REFUSALS = {405: "method", 408: "timeout", 413: "too_large", 415: "media_type"}
# Requests that need no key, and their answers: their series exist from the start.
_OPEN = {
    "GET /healthz": (200,),
    "GET /readyz": (200, 503),
    "GET /metrics": (200,),
    "GET /openapi.json": (200,),
    "GET /docs": (200,),
}
# Charged once its body is read and the number of its pictures known.
_BATCH = ("POST", "/v1/attributions:batch")
# Requests that wait for an answer: refused at once if that would come too late.
_ANSWERS = {("POST", "/v1/attributions"), _BATCH}
_log = logging.getLogger(__name__)


class HttpFront:
    """ASGI application in front of the API: checks key and size, echoes the request's id, counts requests.

    Refused requests are answered with a problem document (RFC 9457) before their body is read.

    Args:
        app: The API.
        access: Establishes the caller, for paths under /v1/.
        admission: Refuses requests whose answer would come too late.
        marks: Marks answers that do not reach their callers.
        metrics: Counts requests.
        limits: Limits of what callers can hold or delay.
    """

    def __init__(
        self,
        app: ASGIApp,
        access: Authenticator,
        admission: Admission,
        marks: DeliveryMarks,
        metrics: GatewayMetrics,
        limits: Limits,
    ) -> None:
        self._marks = marks
        self._app = app
        self._access = access
        self._admission = admission
        self._metrics = metrics
        self._limits = limits
        self._requests = 0
        metrics.count_in_flight("http", lambda: self._requests)
        for method, codes in _OPEN.items():
            for code in codes:
                metrics.expect_request("http", method, str(code))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            return
        exchange = _Exchange(scope, send)
        current_request_id.set(exchange.request_id)
        if not exchange.is_protected:
            await self._answer_and_count(exchange, receive)
            return
        with http_server_span(exchange.trace_parent) as span:
            await self._answer_and_count(exchange, receive)
            describe_http(span, exchange.label, exchange.status)

    async def _answer_and_count(self, exchange: _Exchange, receive: Receive) -> None:
        self._requests += 1
        try:
            await self._answer(exchange, receive)
        except Exception:
            _log.exception("%s failed (request %s)", exchange.label, exchange.request_id)
            await exchange.fail()
        finally:
            self._requests -= 1
            self._count(exchange)

    async def _answer(self, exchange: _Exchange, receive: Receive) -> None:
        try:
            await self._admit(exchange.scope)
        except CreditlineError as error:
            exchange.refusal = refusal_of(error)
            await problem_response(error)(exchange.scope, receive, exchange.send)
            return
        limited = _limited(receive, self._limits)
        if (exchange.scope["method"], exchange.scope["path"]) in _ANSWERS:
            await self._deliver(exchange, limited)
        else:
            await self._app(exchange.scope, limited, exchange.send)

    async def _deliver(self, exchange: _Exchange, receive: Receive) -> None:
        """Compute an answer as long as its caller is there, and note whether it got it."""
        delivery = Delivery(self._marks)
        current_delivery.set(delivery)
        try:
            await answer_while_present(
                lambda body: self._app(exchange.scope, body, exchange.send), receive, lambda: exchange.sent
            )
            if exchange.delivered:
                delivery.succeeded()
        finally:
            delivery.end()

    async def _admit(self, scope: Scope) -> None:
        """Check all that can be checked without the body. Raises CreditlineError."""
        headers = Headers(scope=scope)
        _check_head(scope)
        # Probes and metrics are answered whatever the load.
        if _is_protected(scope):
            self._refuse_beyond_capacity()
            given = headers.getlist("authorization")
            caller = await self._access.authenticate(given, address=_address(scope))
            current_caller.set(caller)
            charge_attributions.set(partial(self._access.charge, caller))
        _check_length(headers.get("content-length"))
        waits = (scope["method"], scope["path"]) in _ANSWERS
        if waits:
            await self._admission.check(
                current_caller.get().owner, _stated_seconds(headers), waited=waited_seconds(scope)
            )
        if _is_protected(scope) and (scope["method"], scope["path"]) != _BATCH:
            await self._access.charge(current_caller.get(), attributions=int(waits))

    def _refuse_beyond_capacity(self) -> None:
        most = self._limits.requests
        if self._requests > most:
            raise ResourceExhausted(f"{most:,} requests are being answered; send this one later")

    def _count(self, exchange: _Exchange) -> None:
        refusal = exchange.refusal or _REFUSALS.get(exchange.status)
        if refusal is None and "route" not in exchange.scope:
            refusal = "not_found"
        seconds = time.perf_counter() - exchange.started
        if refusal is not None:
            self._metrics.refused("http", refusal)
        else:
            self._metrics.observe_request("http", exchange.label, str(exchange.status), seconds)
        if exchange.is_protected:
            log_request(
                exchange.label,
                protocol="http",
                outcome=str(exchange.status),
                refusal=refusal or "",
                seconds=round(seconds, 6),
            )


class _Exchange:
    """One request and what became of it.

    Args:
        scope: The request's scope; the application sees a HEAD request as the GET that it stands for.
        send: Sends the response.
    """

    def __init__(self, scope: Scope, send: Send) -> None:
        self.started = time.perf_counter()
        self.scope: MutableMapping[str, Any] = dict(scope)
        if scope["method"] == "HEAD":
            # The server sends no body in answer to HEAD.
            self.scope["method"] = "GET"
        headers = Headers(scope=scope)
        self.request_id = request_id_of(headers.getlist(REQUEST_ID))
        self.trace_parent = headers.get(TRACE_PARENT, "")
        self.is_protected = _is_protected(scope)
        self.status = GONE
        self.refusal: str | None = None
        self.sent = False
        self._present = True
        self._send = send

    @property
    def label(self) -> str:
        """Method and route pattern: one of a fixed set, without ids and what callers make up."""
        route = self.scope.get("route")
        return f"{self.scope['method']} {route.path_format}" if route is not None else "other"

    async def send(self, message: Message) -> None:
        """Send a part of the response, the request's id in its head."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            MutableHeaders(scope=message)[REQUEST_ID] = self.request_id
        is_last = message["type"] == "http.response.body" and not message.get("more_body", False)
        if is_last:
            # Afterwards, callers may leave at once: they have what they asked for.
            self._present = not has_left(self.scope)
        await self._send(message)
        self.sent = self.sent or is_last

    @property
    def delivered(self) -> bool:
        """Whether an answer, and no error, was handed to the caller's open connection."""
        return self.sent and self._present and self.status == _OK

    async def fail(self) -> None:
        """Answer that the gateway failed, unless an answer has begun."""
        if self.status != GONE:
            return
        body = plain_problem(500, INTERNAL_MESSAGE) | {"request_id": self.request_id}
        await JSONResponse(body, status_code=500, media_type=PROBLEM_TYPE)(self.scope, _no_more, self.send)


async def _no_more() -> Message:
    return {"type": "http.disconnect"}


def problem_response(error: CreditlineError) -> JSONResponse:
    """The response to an error: `application/problem+json`."""
    body = problem_body(error) | {"request_id": current_request_id.get()}
    return JSONResponse(
        body,
        status_code=problem_of(error).http_status,
        headers=problem_headers(error),
        media_type=PROBLEM_TYPE,
    )


def _is_protected(scope: Scope) -> bool:
    """Whether a request needs a key: probes and scrapes do not, and are not traced or logged either."""
    return bool(scope["path"].startswith(PROTECTED_PREFIX))


def _check_head(scope: Scope) -> None:
    size = len(scope["raw_path"]) + len(scope["query_string"])
    size += sum(len(name) + len(value) for name, value in scope["headers"])
    if size > MOST_HEAD_BYTES:
        raise HeadTooLarge(
            f"the request's head has {size:,} bytes; at most {MOST_HEAD_BYTES:,} are allowed: send fewer or"
            " shorter headers"
        )


def _address(scope: Scope) -> str:
    client = scope.get("client")
    return client[0] if client else ""


def _stated_seconds(headers: Headers) -> float | None:
    """Time that the caller waits; None where it states none, or nothing valid: the route refuses that."""
    try:
        seconds = float(headers.get(TIMEOUT_HEADER, ""))
    except ValueError:
        return None
    return seconds if seconds > 0.0 else None


def _check_length(content_length: str | None) -> None:
    if content_length is not None and int(content_length) > MOST_REQUEST_BYTES:
        raise _too_large(f"{int(content_length):,}")


def _limited(receive: Receive, limits: Limits) -> Receive:
    """Limit size and time of a body while it is received; its length header may be absent."""
    received, ended, ends = 0, False, time.monotonic() + limits.body_seconds

    async def limited() -> Message:
        nonlocal received, ended
        if ended:
            return await receive()
        try:
            async with asyncio.timeout(min(limits.chunk_seconds, ends - time.monotonic())):
                message = await receive()
        except TimeoutError as error:
            raise ReceiveTimeout(
                f"the request's body did not arrive in time: its parts may be {limits.chunk_seconds:g} s"
                f" apart, and all of it may take {limits.body_seconds:g} s; send it faster"
            ) from error
        received += len(message.get("body", b""))
        if received > MOST_REQUEST_BYTES:
            raise _too_large(f"more than {MOST_REQUEST_BYTES:,}")
        ended = not message.get("more_body", False)
        return message

    return limited


def _too_large(size: str) -> RequestTooLarge:
    return RequestTooLarge(
        f"the request has {size} bytes; an image may have at most {MOST_BYTES:,} bytes: scale it down",
        field="image",
    )
