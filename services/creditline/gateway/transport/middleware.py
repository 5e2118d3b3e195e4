"""HTTP middleware: API key, size limit and metrics of every request."""

from __future__ import annotations

import time

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from creditline.errors import CreditlineError, InvalidInput
from creditline.gateway.access.caller import Authenticator, current_caller
from creditline.gateway.metrics import GatewayMetrics
from creditline.gateway.transport.problems import PROBLEM_TYPE, problem_body, problem_of
from creditline.pictures.queries import MOST_BYTES

# The largest picture, and room for the form's other fields and boundaries.
_MOST_BODY_BYTES = MOST_BYTES + (1 << 20)
_PROTECTED_PREFIX = "/v1/"


class AccessMiddleware:
    """ASGI middleware that checks API key and size before the application reads the body.

    Refused requests are answered with a problem document (RFC 9457).

    Args:
        app: The next ASGI application.
        access: Establishes the caller, for paths under /v1/.
        metrics: Counts requests.
    """

    def __init__(self, app: ASGIApp, access: Authenticator, metrics: GatewayMetrics) -> None:
        self._app = app
        self._access = access
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, status = time.perf_counter(), 500

        async def send_and_keep_status(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._check_and_forward(scope, receive, send_and_keep_status)
        finally:
            seconds = time.perf_counter() - started
            self._metrics.observe_request("http", _method(scope), str(status), seconds)

    async def _check_and_forward(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        try:
            if scope["path"].startswith(_PROTECTED_PREFIX):
                given = headers.getlist("authorization")
                current_caller.set(await self._access.authenticate(given, address=_address(scope)))
            _check_length(headers.get("content-length"))
        except CreditlineError as error:
            await problem_response(error)(scope, receive, send)
            return
        await self._app(scope, _limited(receive), send)


def _address(scope: Scope) -> str:
    client = scope.get("client")
    return client[0] if client else ""


def problem_response(error: CreditlineError) -> JSONResponse:
    """The response to an error: `application/problem+json`."""
    return JSONResponse(
        problem_body(error), status_code=problem_of(error).http_status, media_type=PROBLEM_TYPE
    )


def _check_length(content_length: str | None) -> None:
    if content_length is not None and content_length.isdecimal() and int(content_length) > _MOST_BODY_BYTES:
        raise _too_large(f"{int(content_length):,}")


def _limited(receive: Receive) -> Receive:
    """Limit the size of a body while it is received; its length header may be absent."""
    received = 0

    async def counting() -> Message:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        if received > _MOST_BODY_BYTES:
            raise _too_large(f"more than {_MOST_BODY_BYTES:,}")
        return message

    return counting


def _too_large(size: str) -> InvalidInput:
    return InvalidInput(
        f"the request has {size} bytes; an image may have at most {MOST_BYTES:,} bytes: scale it down",
        field="image",
    )


def _method(scope: Scope) -> str:
    """Method and route pattern; without ids, which would each add a time series."""
    route = scope.get("route")
    return f"{scope['method']} {getattr(route, 'path', 'other')}"
