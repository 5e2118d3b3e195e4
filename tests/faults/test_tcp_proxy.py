"""The TCP proxy of the fault tests: it forwards bytes unchanged and fails as configured."""

from __future__ import annotations

import socket
import socketserver
import threading
import time
from collections.abc import Iterator

import pytest

from tests.faults.tcp_proxy import Fate, ForwardAll, TcpProxy

_SECONDS = 10.0


class _Echo(socketserver.BaseRequestHandler):
    """Sends received bytes back, and records them."""

    def handle(self) -> None:
        assert isinstance(self.server, _EchoServer)
        while received := self.request.recv(1_000):
            self.server.received += received
            self.request.sendall(received)


class _EchoServer(socketserver.ThreadingTCPServer):
    daemon_threads = True
    received = b""

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    def wait_for(self, expected: bytes) -> None:
        deadline = time.monotonic() + _SECONDS
        while expected not in self.received:
            assert time.monotonic() < deadline, f"the server received {self.received!r}"
            time.sleep(0.005)


@pytest.fixture
def echo() -> Iterator[_EchoServer]:
    with _EchoServer(("127.0.0.1", 0), _Echo) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def proxy(echo: _EchoServer) -> Iterator[TcpProxy]:
    with TcpProxy(echo.port) as running:
        yield running


def _connected(proxy: TcpProxy) -> socket.socket:
    return socket.create_connection(("127.0.0.1", proxy.port), timeout=_SECONDS)


def _exchange(client: socket.socket, message: bytes) -> bytes:
    client.sendall(message)
    answer = b""
    while len(answer) < len(message):
        try:
            received = client.recv(1_000_000)
        except ConnectionResetError:
            break
        if not received:
            break
        answer += received
    return answer


def _is_cut(client: socket.socket) -> bool:
    try:
        return client.recv(1) == b""
    except ConnectionResetError:
        return True


def test_bytes_pass_unchanged_in_both_directions(proxy: TcpProxy) -> None:
    message = bytes(range(256)) * 2_000
    with _connected(proxy) as client:
        sending = threading.Thread(target=client.sendall, args=(message,))
        sending.start()
        answer = b""
        while len(answer) < len(message):
            answer += client.recv(100_000)
        sending.join(_SECONDS)
    assert answer == message


def test_when_replies_are_dropped_requests_still_reach_the_server(proxy: TcpProxy, echo: _EchoServer) -> None:
    with _connected(proxy) as client:
        assert _exchange(client, b"before") == b"before"
        proxy.drop_replies()
        client.sendall(b"unanswered")
        echo.wait_for(b"unanswered")
        proxy.heal()
        assert _is_cut(client)
    with _connected(proxy) as client:
        assert _exchange(client, b"after") == b"after"


def test_a_dropped_request_never_reaches_the_server(proxy: TcpProxy, echo: _EchoServer) -> None:
    with _connected(proxy) as client:
        assert _exchange(client, b"before") == b"before"
        proxy.drop_requests()
        client.sendall(b"lost")
        client.settimeout(0.2)
        with pytest.raises(TimeoutError):
            client.recv(1)
    assert echo.received == b"before"


def test_a_delay_applies_to_both_directions(proxy: TcpProxy) -> None:
    proxy.delay(0.1)
    with _connected(proxy) as client:
        began = time.monotonic()
        assert _exchange(client, b"late") == b"late"
        assert time.monotonic() - began >= 0.2


def test_a_cut_aborts_open_connections_and_new_ones_are_accepted(proxy: TcpProxy) -> None:
    with _connected(proxy) as client:
        _exchange(client, b"open")
        proxy.cut()
        assert _is_cut(client)
    with _connected(proxy) as client:
        assert _exchange(client, b"again") == b"again"


def test_refused_connections_are_cut_until_it_heals(proxy: TcpProxy) -> None:
    proxy.refuse()
    with _connected(proxy) as client:
        assert _is_cut(client)
    proxy.heal()
    with _connected(proxy) as client:
        assert _exchange(client, b"again") == b"again"


class _CutAtSecondReply(ForwardAll):
    """Forwards one reply and cuts the connection at the next."""

    def __init__(self) -> None:
        self._replies = 0

    def on_reply(self, chunk: bytes) -> Fate:
        self._replies += 1
        return Fate.FORWARD if self._replies == 1 else Fate.CUT


def test_a_script_decides_about_single_replies_of_each_connection(echo: _EchoServer) -> None:
    with TcpProxy(echo.port, script=_CutAtSecondReply) as proxy:
        for _ in range(2):
            with _connected(proxy) as client:
                assert _exchange(client, b"first") == b"first"
                assert _exchange(client, b"second") == b""
    assert echo.received == b"firstsecond" * 2
