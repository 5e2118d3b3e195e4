"""A script for the TCP proxy: the reply to one gRPC call is lost after the server has carried it out."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import hpack

from tests.faults.tcp_proxy import Fate, Script

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_HEADERS, _CONTINUATION = 1, 9
_END_STREAM, _END_HEADERS, _PADDED, _PRIORITY = 0x1, 0x4, 0x8, 0x20
_FRAME_HEAD_BYTES, _PRIORITY_BYTES = 9, 5


@dataclass
class LostReply:
    """Loss of the reply to one call; all other calls are answered. Pass `script` to a `TcpProxy`.

    Connections that are opened after the loss work, unless `for_good` is set.
    """

    method: str
    """Service and method of the call, such as `Points/Upsert`."""

    number: int = 1
    """Number of the call among those of the method, from 1."""

    cut: bool = True
    """Close the connection when the reply arrives; otherwise it is silent from the request on."""

    for_good: bool = False
    """Cut every later connection too."""

    lost: threading.Event = field(default_factory=threading.Event)
    """Set when the server's reply has been discarded: the server has carried the call out."""

    calls: Counter[str] = field(default_factory=Counter)
    """Number of calls by service and method."""

    def script(self) -> Script:
        """The script of one connection."""
        return _Connection(self)


class _Connection:
    """Decodes the HTTP/2 frames of one connection and finds the reply to lose."""

    def __init__(self, loss: LostReply) -> None:
        self._loss = loss
        self._requests, self._replies = _Frames(_PREFACE), _Frames(b"")
        self._decoder = hpack.Decoder()
        self._headers = b""
        self._stream: int | None = None

    def on_request(self, chunk: bytes) -> Fate:
        if self._loss.for_good and self._loss.lost.is_set():
            return Fate.CUT
        for frame in self._requests.of(chunk):
            if frame.kind in (_HEADERS, _CONTINUATION):
                self._read_headers(frame)
        return Fate.FORWARD

    def on_reply(self, chunk: bytes) -> Fate:
        answered = any(
            frame.kind == _HEADERS and frame.flags & _END_STREAM and frame.stream == self._stream
            for frame in list(self._replies.of(chunk))
        )
        if self._stream is None:
            return Fate.FORWARD
        if answered:
            self._loss.lost.set()
        if not self._loss.cut:
            return Fate.DROP
        return Fate.CUT if answered else Fate.FORWARD

    def _read_headers(self, frame: _Frame) -> None:
        self._headers += frame.header_block()
        if not frame.flags & _END_HEADERS:
            return
        # Every block has to be decoded: later ones refer to earlier ones.
        headers = dict(self._decoder.decode(self._headers))
        self._headers = b""
        if ":path" in headers:
            self._count(headers[":path"].removeprefix("/qdrant."), frame.stream)

    def _count(self, method: str, stream: int) -> None:
        self._loss.calls[method] += 1
        if method == self._loss.method and self._loss.calls[method] == self._loss.number:
            self._stream = stream


@dataclass(frozen=True)
class _Frame:
    """An HTTP/2 frame (RFC 9113, section 4.1)."""

    kind: int
    flags: int
    stream: int
    payload: bytes

    def header_block(self) -> bytes:
        """The payload of a HEADERS or CONTINUATION frame without padding and priority."""
        if self.kind == _CONTINUATION:
            return self.payload
        padding = self.payload[0] if self.flags & _PADDED else 0
        first = (1 if self.flags & _PADDED else 0) + (_PRIORITY_BYTES if self.flags & _PRIORITY else 0)
        return self.payload[first : len(self.payload) - padding]


class _Frames:
    """Splits one direction of a connection into frames, independently of its chunks."""

    def __init__(self, preface: bytes) -> None:
        self._preface = len(preface)
        self._bytes = b""

    def of(self, chunk: bytes) -> Iterator[_Frame]:
        """The frames that end in this chunk."""
        skipped = min(self._preface, len(chunk))
        self._preface -= skipped
        self._bytes += chunk[skipped:]
        while len(self._bytes) >= _FRAME_HEAD_BYTES:
            end = _FRAME_HEAD_BYTES + int.from_bytes(self._bytes[:3], "big")
            if len(self._bytes) < end:
                return
            head, payload = self._bytes[:_FRAME_HEAD_BYTES], self._bytes[_FRAME_HEAD_BYTES:end]
            self._bytes = self._bytes[end:]
            yield _Frame(head[3], head[4], int.from_bytes(head[5:9], "big") & 0x7FFFFFFF, payload)
