"""The embedder's metrics over HTTP, or HTTPS with the embedder's own certificate."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from wsgiref.simple_server import WSGIRequestHandler, make_server

from prometheus_client import CollectorRegistry, make_wsgi_app
from prometheus_client.exposition import ThreadingWSGIServer

from creditline.credentials.servers import https_context
from creditline.credentials.tls_files import TlsFiles

_IDLE_SECONDS = 10


class _Ipv6Server(ThreadingWSGIServer):
    address_family = socket.AF_INET6


class _Handler(WSGIRequestHandler):
    # Of one read, the TLS handshake included.
    timeout = _IDLE_SECONDS

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing."""


@contextmanager
def metrics_server(host: str, port: int, registry: CollectorRegistry, tls: TlsFiles | None) -> Iterator[int]:
    """Serve metrics during the block; the port is yielded.

    prometheus_client's own server shakes hands in the thread that accepts connections, where one idle caller
    holds up all others, and reads its certificate once.

    Args:
        host: Address to listen on.
        port: Port; 0 picks a free one.
        registry: The metrics.
        tls: Files of the embedder; None: no TLS. Readers of metrics need no certificate of their own.

    Raises:
        OSError: The address cannot be bound.
        CreditlineError: The files cannot be used; see `TlsFiles.read`.
    """
    context = https_context(replace(tls, ca=None)) if tls else None
    kind = _Ipv6Server if ":" in host else ThreadingWSGIServer
    server = make_server(host, port, make_wsgi_app(registry), kind, handler_class=_Handler)
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, name="metrics", daemon=True)
    thread.start()
    try:
        yield int(server.server_port)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
