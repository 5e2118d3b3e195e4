"""What every HTTP request passes before the application sees its body: size, API key, metrics."""

from __future__ import annotations

import time

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from creditline.errors import CreditlineError, InvalidInput
from creditline.gateway.access.keys import ApiKeys
from creditline.gateway.metrics import GatewayMetrics
from creditline.gateway.transport.problems import PROBLEM_TYPE, problem_body, problem_of
from creditline.pictures.queries import MOST_BYTES

# A picture and the fields and boundaries around it.
_MOST_BODY_BYTES = MOST_BYTES + (1 << 20)
_GUARDED = "/v1/"


class AccessMiddleware:
    """ASGI middleware; what it refuses, it refuses as a problem."""

    def __init__(self, app: ASGIApp, keys: ApiKeys, metrics: GatewayMetrics) -> None:
        self._app = app
        self._keys = keys
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, status = time.perf_counter(), 500

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._enter(scope, receive, noting)
        finally:
            seconds = time.perf_counter() - started
            self._metrics.observe_request("http", _method(scope), str(status), seconds)

    async def _enter(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        try:
            if scope["path"].startswith(_GUARDED):
                self._keys.check(headers.get("authorization"))
            _check_length(headers.get("content-length"))
        except CreditlineError as error:
            await problem_response(error)(scope, receive, send)
            return
        await self._app(scope, _limited(receive), send)


def problem_response(error: CreditlineError) -> JSONResponse:
    """An error as `application/problem+json`."""
    return JSONResponse(
        problem_body(error), status_code=problem_of(error).http_status, media_type=PROBLEM_TYPE
    )


def _check_length(content_length: str | None) -> None:
    if content_length is not None and content_length.isdecimal() and int(content_length) > _MOST_BODY_BYTES:
        raise _too_large(f"{int(content_length):,}")


def _limited(receive: Receive) -> Receive:
    """The same, for a body that did not say its length."""
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
        f"the request has {size} bytes; an image of at most {MOST_BYTES:,} is taken: scale it down",
        field="image",
    )


def _method(scope: Scope) -> str:
    """The route's pattern, so that ids make no new time series."""
    route = scope.get("route")
    return f"{scope['method']} {getattr(route, 'path', 'other')}"
