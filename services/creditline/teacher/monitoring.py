"""The teacher's HTTP port: `/metrics` for Prometheus, `/healthz` and `/readyz` for health probes."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import MappingProxyType

from creditline.errors import InvalidInput
from creditline.observability.exposition import Exposition

_JSON = "application/json"
_NO_PAGE = b"no such page\n"


@dataclass(frozen=True)
class Page:
    """An HTTP response."""

    status: HTTPStatus
    """Status code."""
    content_type: str
    """Media type of the body."""
    body: bytes
    """The body."""


MakePage = Callable[[str], Page]


def report(problem: str | None, facts: Mapping[str, str] = MappingProxyType({})) -> Page:
    """A health report as JSON.

    Args:
        problem: None for status 200; otherwise the detail of status 503.
        facts: further fields of the JSON.
    """
    status, content = HTTPStatus.OK, {"status": "ok"}
    if problem is not None:
        status, content = HTTPStatus.SERVICE_UNAVAILABLE, {"status": "unavailable", "detail": problem}
    return Page(status, _JSON, json.dumps({**content, **facts}).encode() + b"\n")


def metrics_page(exposition: Exposition) -> Page:
    """The metrics, in the format that they were exposed in."""
    return Page(HTTPStatus.OK, exposition.content_type, exposition.body)


@contextmanager
def monitoring_server(host: str, port: int, pages: Mapping[str, MakePage]) -> Iterator[int]:
    """Serve pages from a separate thread; yields the port.

    Args:
        host: address to listen on.
        port: port to listen on; 0 takes a free one.
        pages: functions that make a page from the request's `Accept` header, by path.

    Raises:
        InvalidInput: The port is taken.
    """
    try:
        server = ThreadingHTTPServer((host, port), _handler(pages))
    except OSError as error:
        raise InvalidInput(
            f"cannot listen on {host}:{port} ({error.strerror}); set CREDITLINE_TEACHER_METRICS_PORT to "
            "a free port",
            field="teacher_metrics_port",
        ) from error
    thread = threading.Thread(target=server.serve_forever, name="monitoring", daemon=True)
    thread.start()
    try:
        yield int(server.server_address[1])
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _handler(pages: Mapping[str, MakePage]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            make_page = pages.get(self.path.split("?", 1)[0])
            accept = self.headers.get("Accept", "")
            page = make_page(accept) if make_page else Page(HTTPStatus.NOT_FOUND, "text/plain", _NO_PAGE)
            self.send_response(page.status)
            self.send_header("Content-Type", page.content_type)
            self.send_header("Content-Length", str(len(page.body)))
            self.end_headers()
            self.wfile.write(page.body)

        def log_message(self, format: str, *args: object) -> None:
            """Log nothing: probes arrive every few seconds."""

    return Handler
