"""A TCP proxy for tests: it forwards, delays, drops replies and cuts connections, as a network may.

It knows bytes only, so it stands before any server: Qdrant, PostgreSQL, Redis, a gateway.

    with TcpProxy(server_port) as proxy:
        client = connect(proxy.port)
        proxy.drop_replies()   # requests still reach the server
        ...
        proxy.heal()

A `Script` decides about single chunks, e.g. "forward everything until this call is answered, then cut": see
`tests.faults.lost_replies`.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from enum import Enum
from types import TracebackType
from typing import Any, Protocol, Self

_CHUNK_BYTES = 64 * 1024
_START_SECONDS = 10.0


class Fate(Enum):
    """What becomes of one chunk of bytes."""

    FORWARD = "forward"
    DROP = "drop"
    # Neither side hears more of the connection; the chunk is not forwarded.
    CUT = "cut"


class Script(Protocol):
    """Decides about the chunks of one connection, in the order in which they arrive."""

    def on_request(self, chunk: bytes) -> Fate:
        """The fate of bytes from the client."""
        ...

    def on_reply(self, chunk: bytes) -> Fate:
        """The fate of bytes from the server."""
        ...


class ForwardAll:
    """The script of a healthy network."""

    def on_request(self, chunk: bytes) -> Fate:
        return Fate.FORWARD

    def on_reply(self, chunk: bytes) -> Fate:
        return Fate.FORWARD


@dataclass(frozen=True)
class _Weather:
    """What currently holds for all connections."""

    delay_seconds: float = 0.0
    drops_requests: bool = False
    drops_replies: bool = False
    refuses: bool = False


class TcpProxy:
    """Forwards a free loopback port to a server, and fails on demand. Methods may be called from any thread.

    Args:
        upstream_port: the server's port.
        upstream_host: the server's host.
        script: makes the script of each new connection.
    """

    def __init__(
        self,
        upstream_port: int,
        *,
        upstream_host: str = "127.0.0.1",
        script: Callable[[], Script] = ForwardAll,
    ) -> None:
        self._upstream = (upstream_host, upstream_port)
        self._script = script
        self._weather = _Weather()
        self._pairs: set[_Pair] = set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=f"proxy-{self.port}", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._call(self._serve())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._call(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_START_SECONDS)
        self._loop.close()

    @property
    def connections(self) -> int:
        """How many connections are open."""
        return len(self._pairs)

    def delay(self, seconds: float) -> None:
        """Hold every chunk of either direction back for that long."""
        self._change(_Weather(delay_seconds=seconds))

    def drop_replies(self) -> None:
        """Let requests through and swallow what the server answers, on old and new connections."""
        self._change(_Weather(drops_replies=True))

    def drop_requests(self) -> None:
        """Swallow requests: the server sees none of them."""
        self._change(_Weather(drops_requests=True))

    def black_hole(self) -> None:
        """Swallow both directions, as a network whose cable is pulled: nobody is told."""
        self._change(_Weather(drops_requests=True, drops_replies=True))

    def cut(self) -> None:
        """Close all open connections without a farewell; new ones are accepted."""
        self._call(self._cut_all())

    def refuse(self) -> None:
        """Close all open connections and, at once, every new one."""
        self._change(_Weather(refuses=True))
        self._call(self._cut_all())

    def heal(self) -> None:
        """Forward again. A connection that lost bytes is cut: what follows would not make sense on it."""
        harmed = self._weather.drops_replies or self._weather.drops_requests
        self._change(_Weather())
        if harmed:
            self._call(self._cut_all())

    def _change(self, weather: _Weather) -> None:
        self._weather = weather

    def _call(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(_START_SECONDS)

    async def _serve(self) -> None:
        self._server = await asyncio.start_server(self._connected, sock=self._listener)

    async def _end(self) -> None:
        self._server.close()
        await self._cut_all()
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _cut_all(self) -> None:
        for pair in list(self._pairs):
            pair.cut()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._weather.refuses:
            writer.transport.abort()
            return
        try:
            upstream_reader, upstream_writer = await asyncio.open_connection(*self._upstream)
        except OSError:
            writer.transport.abort()
            return
        pair, script = _Pair(writer, upstream_writer), self._script()
        self._pairs.add(pair)
        try:
            await asyncio.gather(
                self._pump(reader, upstream_writer, pair, self._request_fate(script)),
                self._pump(upstream_reader, writer, pair, self._reply_fate(script)),
            )
        finally:
            pair.cut()
            self._pairs.discard(pair)

    def _request_fate(self, script: Script) -> Callable[[bytes], Fate]:
        return lambda chunk: Fate.DROP if self._weather.drops_requests else script.on_request(chunk)

    def _reply_fate(self, script: Script) -> Callable[[bytes], Fate]:
        return lambda chunk: Fate.DROP if self._weather.drops_replies else script.on_reply(chunk)

    async def _pump(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        pair: _Pair,
        fate_of: Callable[[bytes], Fate],
    ) -> None:
        """One direction, until either side ends it."""
        with contextlib.suppress(OSError):
            while chunk := await reader.read(_CHUNK_BYTES):
                await asyncio.sleep(self._weather.delay_seconds)
                fate = fate_of(chunk)
                if fate is Fate.CUT:
                    break
                if fate is Fate.FORWARD:
                    writer.write(chunk)
                    await writer.drain()
        pair.cut()


@dataclass(frozen=True, eq=False)
class _Pair:
    """Both ends of a forwarded connection."""

    client: asyncio.StreamWriter
    server: asyncio.StreamWriter

    def cut(self) -> None:
        """Close both ends at once; what waited to be sent is lost."""
        self.client.transport.abort()
        self.server.transport.abort()
