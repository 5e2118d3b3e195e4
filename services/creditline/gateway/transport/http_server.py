"""uvicorn inside the gateway's event loop, with the gateway's own socket and signal handling."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator

import uvicorn
from fastapi import FastAPI

from creditline.errors import InvalidInput

_POLL_SECONDS = 0.01


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Install no handlers: the gateway handles signals, for gRPC too."""
        yield


class HttpServer:
    """HTTP server of one application.

    Args:
        app: The application.
        grace_seconds: Time that running requests have to finish after a stop.
    """

    def __init__(self, app: FastAPI, *, grace_seconds: float) -> None:
        config = uvicorn.Config(
            app,
            lifespan="off",
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=max(1, round(grace_seconds)),
        )
        self._server = _Server(config)
        self._serving: asyncio.Task[None] | None = None

    async def start(self, host: str, port: int) -> int:
        """Start to listen, and return the port. Raises InvalidInput when the address cannot be bound."""
        listener = _bound_socket(host, port)
        self._serving = asyncio.create_task(self._server.serve(sockets=[listener]))
        while not self._server.started and not self._serving.done():
            await asyncio.sleep(_POLL_SECONDS)
        return int(listener.getsockname()[1])

    async def stop(self) -> None:
        """Refuse new requests, and wait until running ones finish."""
        if self._serving is not None:
            self._server.should_exit = True
            await self._serving


def _bound_socket(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise InvalidInput(
            f"the gateway cannot listen on {host}:{port} ({error.strerror}); set "
            "CREDITLINE_GATEWAY_HTTP_PORT to a free port",
            field="gateway_http_port",
        ) from error
    return listener
