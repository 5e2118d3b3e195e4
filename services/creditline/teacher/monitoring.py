"""The teacher's HTTP port: `/metrics` for Prometheus, `/healthz` and `/readyz` for its keepers."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import MappingProxyType

from prometheus_client import CONTENT_TYPE_LATEST

from creditline.errors import InvalidInput

_JSON = "application/json"


@dataclass(frozen=True)
class Page:
    """One answer."""

    status: HTTPStatus
    content_type: str
    body: bytes


def report(problem: str | None, facts: Mapping[str, str] = MappingProxyType({})) -> Page:
    """200 when there is no problem, 503 with the problem otherwise. facts: further fields of the JSON."""
    status, content = HTTPStatus.OK, {"status": "ok"}
    if problem is not None:
        status, content = HTTPStatus.SERVICE_UNAVAILABLE, {"status": "unavailable", "detail": problem}
    return Page(status, _JSON, json.dumps({**content, **facts}).encode() + b"\n")


def metrics_page(exposition: bytes) -> Page:
    """Prometheus' text."""
    return Page(HTTPStatus.OK, CONTENT_TYPE_LATEST, exposition)


@contextmanager
def monitoring_server(host: str, port: int, pages: Mapping[str, Callable[[], Page]]) -> Iterator[int]:
    """Serve the pages from a thread of its own; yields the port. Raises InvalidInput when it is taken."""
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


def _handler(pages: Mapping[str, Callable[[], Page]]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            make_page = pages.get(self.path.split("?", 1)[0])
            page = make_page() if make_page else Page(HTTPStatus.NOT_FOUND, "text/plain", b"no such page\n")
            self.send_response(page.status)
            self.send_header("Content-Type", page.content_type)
            self.send_header("Content-Length", str(len(page.body)))
            self.end_headers()
            self.wfile.write(page.body)

        def log_message(self, format: str, *args: object) -> None:
            """Probes come every few seconds; they are not worth a line each."""

    return Handler
