"""A name server on loopback for one name, whose addresses the test changes (RFC 1035, A records over UDP)."""

from __future__ import annotations

import socket
import struct
import threading
from types import TracebackType
from typing import Self

NAME = "embedder.test"
_TYPE_A = 1
_HEADER_BYTES = 12
_AUTHORITATIVE_ANSWER = 0x8580
_POINTER_TO_QUESTION = b"\xc0\x0c"


class NameServer:
    """Answers every question of type A with `addresses`, and others with no record, inside `with`."""

    def __init__(self) -> None:
        self.addresses: list[str] = []
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve)

    def target(self, port: int) -> str:
        """A gRPC target: `port` on all addresses, resolved here."""
        return f"dns://127.0.0.1:{self._socket.getsockname()[1]}/{NAME}:{port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # An empty datagram ends the thread.
        self._socket.sendto(b"", self._socket.getsockname())
        self._thread.join()
        self._socket.close()

    def _serve(self) -> None:
        while True:
            query, sender = self._socket.recvfrom(4_096)
            if not query:
                return
            self._socket.sendto(answer(query, self.addresses), sender)


def answer(query: bytes, addresses: list[str]) -> bytes:
    """The response to a query with one question: `addresses` with a time to live of 0 s."""
    question_end = query.index(b"\0", _HEADER_BYTES) + 5
    (kind,) = struct.unpack_from(">H", query, question_end - 4)
    records = [
        _POINTER_TO_QUESTION + struct.pack(">HHIH", _TYPE_A, 1, 0, 4) + socket.inet_aton(address)
        for address in (addresses if kind == _TYPE_A else [])
    ]
    counts = struct.pack(">HHHHH", _AUTHORITATIVE_ANSWER, 1, len(records), 0, 0)
    return query[:2] + counts + query[_HEADER_BYTES:question_end] + b"".join(records)
