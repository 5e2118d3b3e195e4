"""The gateway's side of the nursery and of the decoders that it forks."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import struct
import subprocess
import sys
from collections import deque
from dataclasses import asdict
from typing import Any

from creditline.errors import InvalidInput
from creditline.gateway.decoding.frames import HEADER_BYTES, Frame, Kind, read_header, read_pixels
from creditline.gateway.decoding.limits import DecoderLimits
from creditline.pictures.pixels import RgbPixels
from creditline.pictures.queries import QUERY_FIELD

_NURSERY = "creditline.gateway.decoding.nursery"
_MOST_PACKET_BYTES = 4096
# Decoded pictures have at most 512 pixels a side; their files are smaller than their pixels.
_MOST_CONTENT_BYTES = 1 << 20
_END_SECONDS = 1.0
_UNKNOWN_SIGNAL = 0
# Decoders get nothing of the gateway's environment, which holds keys, but what Python needs to start. Large
# blocks are given back to the system at once: a decoder that is idle must not keep a large picture's memory.
_INHERITED = ("PATH", "LD_LIBRARY_PATH", "LANG", "LC_ALL", "TZ")
_ENVIRONMENT = {
    "PYTHONDONTWRITEBYTECODE": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_THRESHOLD_": str(4 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(8 << 20),
}


class DecoderEnded(Exception):
    """The decoder's process ended before it answered.

    Attributes:
        signal: Number of the signal that ended it; 0 if it is not known, or there was none.
    """

    def __init__(self, number: int) -> None:
        super().__init__(f"signal {number}")
        self.signal = number

    @property
    def by_time_limit(self) -> bool:
        """Whether the picture took more processor time than is allowed."""
        return self.signal == signal.SIGPROF


class OutOfMemory(Exception):
    """The picture needs more memory than the decoder may use; the decoder ends."""


class NurseryEnded(Exception):
    """The nursery's process ended."""


class Decoder:
    """One decoder process; it decodes one picture at a time.

    Args:
        nursery: The nursery that forked it.
        pid: Number of the process.
        connection: Non-blocking connection to the process.
    """

    def __init__(self, nursery: NurseryProcess, pid: int, connection: socket.socket) -> None:
        self.pid = pid
        self._nursery = nursery
        self._connection = connection
        self._loop = asyncio.get_running_loop()
        self.ended: asyncio.Future[int] = self._loop.create_future()
        """Number of the signal that ended the process, once it has ended; 0 for none or unknown."""
        self.end_reason = "unexpected"
        """Why the process ended, or will end, where this side ends it."""

    async def pixels(self, image: bytes) -> RgbPixels:
        """Decode a picture.

        Raises:
            InvalidInput: The picture cannot be decoded.
            OutOfMemory: It needs more memory than the decoder may use.
            DecoderEnded: The process ended, for example by the limit of processor time.
        """
        try:
            await self._loop.sock_sendall(self._connection, Frame(Kind.IMAGE, image).header)
            await self._loop.sock_sendall(self._connection, image)
        except OSError as error:
            raise await self._end() from error
        frame = await self._receive()
        if frame.kind is Kind.FAULT:
            raise InvalidInput(frame.content.decode(errors="replace"), field=QUERY_FIELD)
        if frame.kind is Kind.OUT_OF_MEMORY:
            raise OutOfMemory
        try:
            return read_pixels(frame.content)
        except (ValueError, struct.error) as error:
            self.kill("malformed")
            raise DecoderEnded(_UNKNOWN_SIGNAL) from error

    async def recorded_file(self) -> bytes:
        """The file to keep of the picture that was decoded last; to be called once. Raises DecoderEnded."""
        frame = await self._receive()
        if frame.kind is not Kind.RECORD:
            self.kill("malformed")
            raise DecoderEnded(_UNKNOWN_SIGNAL)
        return frame.content

    def kill(self, reason: str) -> None:
        """End the process at once, whatever it does.

        Args:
            reason: Reason for `end_reason`.
        """
        self.end_reason = reason
        self._nursery.request({"kill": self.pid})

    def kill_if_cancelled(self, result: asyncio.Future[Any]) -> None:
        """End the process if its caller does not wait any more."""
        if result.cancelled():
            self.kill("abandoned")

    def slow_down(self, niceness: int) -> None:
        """Let the process give way to others from now on."""
        self._nursery.request({"slow": self.pid, "niceness": niceness})

    def disconnect(self) -> None:
        """End the connection; who waits for an answer gets DecoderEnded."""
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the connection while nobody waits for an answer; an idle process then ends by itself."""
        self._connection.close()

    async def _receive(self) -> Frame:
        try:
            kind, length = read_header(await self._receive_exactly(HEADER_BYTES))
            if length > _MOST_CONTENT_BYTES:
                raise ValueError(f"a frame of {length:,} bytes")
            return Frame(kind, await self._receive_exactly(length))
        except ValueError as error:
            self.kill("malformed")
            raise DecoderEnded(_UNKNOWN_SIGNAL) from error
        except (OSError, EOFError) as error:
            raise await self._end() from error

    async def _receive_exactly(self, count: int) -> bytes:
        received = bytearray(count)
        view, got = memoryview(received), 0
        while got < count:
            more = await self._loop.sock_recv_into(self._connection, view[got:])
            if not more:
                raise EOFError
            got += more
        return bytes(received)

    async def _end(self) -> DecoderEnded:
        """The error for a connection that broke; the process's end is reported a moment later."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_END_SECONDS):
                return DecoderEnded(await asyncio.shield(self.ended))
        self.kill("malformed")
        return DecoderEnded(_UNKNOWN_SIGNAL)


class NurseryProcess:
    """A running nursery; to be created on a running event loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", _NURSERY, str(theirs.fileno())],
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                env=_environment(),
            )
        self._control.setblocking(False)
        self._loop.add_reader(self._control, self._read)
        self._starting: deque[tuple[asyncio.Future[Decoder], socket.socket]] = deque()
        self._decoders: dict[int, Decoder] = {}
        self.ended: asyncio.Future[None] = self._loop.create_future()
        """Done once the process has ended."""

    @property
    def pid(self) -> int:
        """Number of the process."""
        return self._process.pid

    async def start(self, limits: DecoderLimits) -> Decoder:
        """Fork a decoder. Raises NurseryEnded."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        started: asyncio.Future[Decoder] = self._loop.create_future()
        with theirs:
            packet = json.dumps({"start": asdict(limits)}).encode()
            try:
                socket.send_fds(self._control, [packet], [theirs.fileno()])
            except OSError as error:
                ours.close()
                raise NurseryEnded from error
        self._starting.append((started, ours))
        return await asyncio.shield(started)

    def request(self, message: dict[str, Any]) -> None:
        """Send a request; a nursery that has ended ignores it, since its decoders end with it."""
        with contextlib.suppress(OSError):
            self._control.send(json.dumps(message).encode())

    def close(self) -> None:
        """End the nursery and all decoders at once, whatever they do."""
        self._loop.remove_reader(self._control)
        for decoder in self._decoders.values():
            decoder.kill("closed")
        self._control.close()
        try:
            self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._mark_ended()

    def _read(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while packet := self._received():
                self._handle(json.loads(packet))
            self._loop.remove_reader(self._control)
            # Decoders of a nursery that was killed are nobody's children; this ends the busy ones too.
            self._process.kill()
            self._process.wait()
            self._mark_ended()

    def _received(self) -> bytes:
        try:
            return self._control.recv(_MOST_PACKET_BYTES)
        except ConnectionError:
            return b""

    def _handle(self, message: dict[str, int]) -> None:
        if "started" in message:
            started, connection = self._starting.popleft()
            child = Decoder(self, message["started"], connection)
            self._decoders[child.pid] = child
            if started.done():
                child.close()
            else:
                started.set_result(child)
        elif decoder := self._decoders.pop(message["ended"], None):
            if message["signal"] == signal.SIGPROF:
                decoder.end_reason = "time"
            decoder.ended.set_result(message["signal"])

    def _mark_ended(self) -> None:
        for decoder in self._decoders.values():
            decoder.ended.set_result(_UNKNOWN_SIGNAL)
            decoder.disconnect()
        self._decoders.clear()
        while self._starting:
            started, connection = self._starting.popleft()
            connection.close()
            if not started.done():
                started.set_exception(NurseryEnded())
                started.exception()  # marks it as retrieved: the caller may have gone
        if not self.ended.done():
            self.ended.set_result(None)


def _environment() -> dict[str, str]:
    inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    path = os.pathsep.join(part for part in sys.path if part)
    return {**inherited, **_ENVIRONMENT, "PYTHONPATH": path}
