"""How the gateway ends an HTTP connection over which any bytes were sent, each way by its name."""

from __future__ import annotations

import contextlib
import socket
import time

from tests.benchmarks.fuzz.impatient_gateway import LIMITS

LATE_HEAD, LATE_BODY = "408 head", "408 body"
"""The server waited for the rest of the head, or of the body, for as long as it is set to."""
IDLE = "closed idle"
"""Not a byte of a request came, so the connection was closed without an answer, in the time for a head."""
CUT = "closed early"
"""The connection was closed without an answer, and sooner than that."""
NO_ANSWER = "no answer"
"""Neither an answer nor an end in the time that is given."""
_MOST_BYTES = 1 << 16


def send_bytes(address: tuple[str, int], request: bytes, *, seconds: float) -> str:
    """Send these bytes over a connection of their own, and name what comes of it.

    Args:
        address: Host and port of HTTP.
        request: The bytes.
        seconds: Longest time to wait for an answer.

    Returns:
        The answer's status, with what was late for 408, or one of the classes of connections that end
        without one.
    """
    began = time.monotonic()
    with socket.create_connection(address, timeout=seconds) as connection:
        try:
            connection.sendall(request)
            answer = _answer(connection, began + seconds)
        except TimeoutError:
            return NO_ANSWER
        except OSError:
            answer = b""
    if answer:
        return _named(answer)
    waited = time.monotonic() - began >= 0.9 * LIMITS.head_seconds
    return IDLE if waited and not request.strip(b"\r\n") else CUT


def _answer(connection: socket.socket, until: float) -> bytes:
    """An answer's head, and the beginning of its body."""
    answer = b""
    with contextlib.suppress(ConnectionResetError):
        while not _is_whole(answer):
            connection.settimeout(max(0.01, until - time.monotonic()))
            received = connection.recv(_MOST_BYTES)
            if not received:
                break
            answer += received
    return answer


def _is_whole(answer: bytes) -> bool:
    """Whether the head is there, and of a 408, whose body names what was late, also the body."""
    head, end, body = answer.partition(b"\r\n\r\n")
    return bool(end) and (b" 408 " not in head.split(b"\r\n")[0] or body.endswith(b"}"))


def _named(answer: bytes) -> str:
    status = answer.split(b" ", 2)[1].decode()
    if status != "408":
        return status
    return LATE_BODY if b"request's body" in answer else LATE_HEAD
