"""uvicorn inside the gateway's event loop, with the gateway's own socket and signal handling."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import uvicorn
from starlette.types import ASGIApp

from creditline.credentials.servers import https_context
from creditline.credentials.tls_files import TlsFiles
from creditline.errors import InvalidInput
from creditline.gateway.transport.http_connection import FrontConnection
from creditline.gateway.transport.limits import MOST_HEAD_BYTES, Limits

_POLL_SECONDS = 0.01
# After this time without an acknowledgement of sent bytes a connection is dropped.
_UNACKNOWLEDGED_MS = 60_000


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Install no handlers: the gateway handles signals, for gRPC too."""
        yield


class HttpServer:
    """HTTP server of one application.

    Args:
        app: The application.
        refused: Counts, by its reason, a request that was refused before it reached the application.
        limits: Limits of what callers can hold or delay.
        grace_seconds: Time that running requests have to finish after a stop.
        setting: Name of the gateway's setting of the port, for errors.
        tls: Files of TLS, followed while they change; None: no TLS.

    Raises:
        CreditlineError: The files cannot be used; see `TlsFiles.read`.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        refused: Callable[[str], None],
        limits: Limits,
        grace_seconds: float,
        setting: str = "gateway_http_port",
        tls: TlsFiles | None = None,
    ) -> None:
        self._setting = setting
        connection: Any = partial(FrontConnection, refused=refused, limits=limits)
        config = uvicorn.Config(
            app,
            http=connection,
            ws="none",
            lifespan="off",
            h11_max_incomplete_event_size=MOST_HEAD_BYTES,
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=max(1, round(grace_seconds)),
        )
        config.load()
        config.ssl = https_context(tls) if tls else None
        self._server = _Server(config)
        self._serving: asyncio.Task[None] | None = None

    async def start(self, host: str, port: int) -> int:
        """Start to listen, and return the port. Raises InvalidInput when the address cannot be bound."""
        listener = _bound_socket(host, port, self._setting)
        self._serving = asyncio.create_task(self._server.serve(sockets=[listener]))
        while not self._server.started and not self._serving.done():
            await asyncio.sleep(_POLL_SECONDS)
        return int(listener.getsockname()[1])

    async def stop(self) -> None:
        """Refuse new requests, and wait until running ones finish."""
        if self._serving is not None:
            self._server.should_exit = True
            await self._serving


def _bound_socket(host: str, port: int, setting: str) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    # Accepted connections inherit it.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _UNACKNOWLEDGED_MS)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise InvalidInput(
            f"the gateway cannot listen on {host}:{port} ({error.strerror}); set "
            f"CREDITLINE_{setting.upper()} to a free port",
            field=setting,
        ) from error
    return listener
