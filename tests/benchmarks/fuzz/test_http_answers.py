"""Every way in which a connection ends has its name, with a gateway that waits for a second."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from tests.benchmarks.fuzz.http_answers import CUT, IDLE, LATE_BODY, LATE_HEAD, NO_ANSWER, send_bytes
from tests.benchmarks.fuzz.impatient_gateway import MODULE
from tests.benchmarks.load.gateway_process import API_KEY, gateway_process

_HEAD = f"POST /v1/audits HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {API_KEY}\r\n".encode()
_JSON = b"Content-Type: application/json\r\n"


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, int]]:
    with gateway_process(tmp_path_factory.mktemp("gateway"), module=MODULE) as gateway:
        yield "127.0.0.1", gateway.ports.gateway_http


@pytest.mark.parametrize(
    ("request_bytes", "wanted"),
    [
        (b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", "200"),
        (b"GET /healthz HTTP/1.1\r\nHost: x\r\n", LATE_HEAD),
        (b"GE", LATE_HEAD),
        (_HEAD + _JSON + b"Content-Length: 20\r\n\r\n{}", LATE_BODY),
        (_HEAD + _JSON + b"Content-Length: 2\r\n\r\n{}", "400"),
        (_HEAD + _JSON + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}", LATE_BODY),
        (b"\x00\xff\r\n\r\n", "400"),
        (b"", IDLE),
    ],
)
def test_a_request_that_is_cut_short_is_answered_after_the_time_for_it(
    address: tuple[str, int], request_bytes: bytes, wanted: str
) -> None:
    assert send_bytes(address, request_bytes, seconds=30) == wanted


def test_a_server_that_neither_answers_nor_closes_or_closes_at_once_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert send_bytes(silent.getsockname(), b"GET", seconds=0.3) == NO_ANSWER
        silent.accept()[0].close()
        closing = threading.Thread(target=lambda: silent.accept()[0].close())
        closing.start()
        assert send_bytes(silent.getsockname(), b"GET", seconds=30) == CUT
        closing.join()
