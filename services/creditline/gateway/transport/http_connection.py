"""HTTP connections of the gateway: uvicorn's, with limits on slow callers, and problems for bad requests."""

from __future__ import annotations

import asyncio
import http
import json
import select
import sys
import time
from collections.abc import Callable
from typing import Any

import h11
from starlette.types import Scope
from uvicorn.protocols.http.h11_impl import H11Protocol

from creditline.gateway.transport.limits import Limits
from creditline.gateway.transport.problems import PROBLEM_TYPE, plain_problem

_DETAILS = {
    400: "the request is no valid HTTP/1.1; send it by an HTTP client",
    408: "the request's head did not arrive in time; send it faster",
    431: "the request's head is too large; send fewer or shorter headers",
}
_CONNECTION = "creditline_connection"
_REASONS = {400: "malformed", 408: "timeout", 431: "headers"}


def has_left(scope: Scope) -> bool:
    """Whether the caller of a request has closed its connection; the event loop may not know it yet.

    Args:
        scope: Scope of the request.
    """
    connection = _connection_of(scope)
    return connection is not None and connection.has_left()


def waited_seconds(scope: Scope) -> float:
    """Time since a request began to arrive, in seconds: of many at once, the last ones wait to be looked at.

    Args:
        scope: Scope of the request.
    """
    connection = _connection_of(scope)
    return 0.0 if connection is None else time.monotonic() - connection.began


def _connection_of(scope: Scope) -> FrontConnection | None:
    connection = scope.get("state", {}).get(_CONNECTION)
    return connection if isinstance(connection, FrontConnection) else None


class FrontConnection(H11Protocol):
    """One HTTP connection.

    It ends when the head of a request takes too long (408) or is too large (431), when a caller does not
    read its answer, and when one that was refused keeps sending its body.

    Args:
        refused: Counts a refusal by its reason.
        limits: Limits of what callers can hold or delay.
        options: As uvicorn makes its protocols.
    """

    def __init__(self, *, refused: Callable[[str], None], limits: Limits, **options: Any) -> None:
        super().__init__(**options)
        # Reaches the application as a part of each request's scope.
        self.app_state = {**self.app_state, _CONNECTION: self}
        self._refused = refused
        self._limits = limits
        self._head_timer: asyncio.TimerHandle | None = None
        self._linger_timer: asyncio.TimerHandle | None = None
        self._unread_timer: asyncio.TimerHandle | None = None
        self._lingered = 0
        self._ended = False
        self.began = time.monotonic()
        """Time at which the latest request began to arrive, on the monotonic clock."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the head of a request."""
        super().connection_made(transport)
        self._head_timer = self.loop.call_later(self._limits.head_seconds, self._head_is_late)

    def has_left(self) -> bool:
        """Whether the caller has closed the connection, or at least its sending half."""
        if self.transport.is_closing():
            return True
        closed = select.poll()
        closed.register(self.transport.get_extra_info("socket").fileno(), select.POLLRDHUP)
        return bool(closed.poll(0))

    def connection_lost(self, exc: Exception | None) -> None:
        """End all timers."""
        for timer in (self._head_timer, self._linger_timer, self._unread_timer):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take bytes of a head or a body; those of a refused request are counted and dropped."""
        if self._ended or self._lingers:
            self._lingered += len(data)
            if self._lingered > self._limits.linger_bytes:
                self.transport.abort()
                return
        if self._ended:
            return
        if self.conn.their_state is h11.IDLE and not self.conn.trailing_data[0]:
            self.began = time.monotonic()
        super().data_received(data)
        self._watch_head()
        if not (self._ended or self._lingers) and self._linger_timer is not None:
            self._linger_timer.cancel()
            self._linger_timer = None

    def on_response_complete(self) -> None:
        """Go on with the next request, or drop the rest of this one for a while."""
        if self.conn.trailing_data[0]:
            # The next request came before this one's answer; its time begins now.
            self.began = time.monotonic()
        super().on_response_complete()
        if self._lingers and not self.transport.is_closing():
            self._linger()

    def pause_writing(self) -> None:
        """Give a caller that does not read its answer a limited time."""
        super().pause_writing()
        self._unread_timer = self.loop.call_later(self._limits.unread_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        """The caller reads again."""
        super().resume_writing()
        if self._unread_timer is not None:
            self._unread_timer.cancel()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP, or has too large a head; called while h11's error is handled."""
        error = sys.exc_info()[1]
        status = error.error_status_hint if isinstance(error, h11.RemoteProtocolError) else 400
        self._refuse(status if status in _DETAILS else 400)

    def _should_upgrade(self) -> bool:
        return False

    @property
    def _lingers(self) -> bool:
        return self.conn.our_state is h11.DONE and self.conn.their_state is h11.SEND_BODY

    def _watch_head(self) -> None:
        """Keep the time for a head running while one is incomplete."""
        incomplete = self.conn.their_state is h11.IDLE and bool(self.conn.trailing_data[0])
        if incomplete and self._head_timer is None:
            self._head_timer = self.loop.call_later(self._limits.head_seconds, self._head_is_late)
        elif not incomplete and self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _head_is_late(self) -> None:
        if self.conn.trailing_data[0]:
            self._refuse(408)
        else:
            self.transport.close()

    def _refuse(self, status: int) -> None:
        self._refused(_REASONS[status])
        if self.cycle is not None and not self.cycle.response_complete:
            # The application may not answer any more: the connection is no longer in step.
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        if self.conn.our_state in {h11.IDLE, h11.SEND_RESPONSE}:
            self._send_problem(status)
        self._end()

    def _end(self) -> None:
        """Send no more, and drop what still comes: closing at once would destroy the answer on its way."""
        self._ended = True
        if self.transport.can_write_eof():
            self.transport.write_eof()
            self.flow.resume_reading()
            self._linger()
        else:
            self.transport.close()

    def _linger(self) -> None:
        if self._linger_timer is None:
            self._lingered = 0
            self._linger_timer = self.loop.call_later(self._limits.linger_seconds, self.transport.abort)

    def _send_problem(self, status: int) -> None:
        body = json.dumps(plain_problem(status, _DETAILS[status])).encode()
        headers = [
            (b"content-type", PROBLEM_TYPE.encode()),
            (b"content-length", str(len(body)).encode()),
            (b"connection", b"close"),
        ]
        reason = http.HTTPStatus(status).phrase.encode()
        events: tuple[h11.Event, ...] = (
            h11.Response(status_code=status, headers=headers, reason=reason),
            h11.Data(data=body),
            h11.EndOfMessage(),
        )
        for event in events:
            self.transport.write(self.conn.send(event) or b"")
