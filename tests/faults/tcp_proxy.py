"""A TCP proxy for tests, which forwards, delays and drops bytes and cuts connections as a network may.

It handles plain bytes, so it works in front of any server: Qdrant, PostgreSQL, Redis, a gateway.

    with TcpProxy(server_port) as proxy:
        client = connect(proxy.port)
        proxy.drop_replies()   # requests still reach the server
        ...
        proxy.heal()

A `Script` decides about single chunks, such as "forward everything until this call is answered, then cut":
see `tests.faults.lost_replies`.
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
    """What happens to one chunk of bytes."""

    FORWARD = "forward"
    DROP = "drop"
    # The connection is closed on both sides; the chunk is not forwarded.
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
class _Faults:
    """Faults that currently apply to all connections."""

    delay_seconds: float = 0.0
    drops_requests: bool = False
    drops_replies: bool = False
    refuses: bool = False


class TcpProxy:
    """Forwards a free loopback port to a server, and fails on demand. Methods may be called from any thread.

    Args:
        upstream_port: Port of the server.
        upstream_host: Host of the server.
        script: Creates the script of each new connection.
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
        self._faults = _Faults()
        self._accepted = 0
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
        """Number of open connections."""
        return len(self._pairs)

    @property
    def accepted(self) -> int:
        """Number of connections that were opened since the start."""
        return self._accepted

    def delay(self, seconds: float) -> None:
        """Delay every chunk in both directions by `seconds`."""
        self._change(_Faults(delay_seconds=seconds))

    def drop_replies(self) -> None:
        """Forward requests and drop replies, on existing and new connections."""
        self._change(_Faults(drops_replies=True))

    def drop_requests(self) -> None:
        """Drop requests, so that the server receives none of them."""
        self._change(_Faults(drops_requests=True))

    def black_hole(self) -> None:
        """Drop both directions without closing connections, as when a cable is pulled."""
        self._change(_Faults(drops_requests=True, drops_replies=True))

    def cut(self) -> None:
        """Abort all open connections; new ones are accepted."""
        self._call(self._cut_all())

    def refuse(self) -> None:
        """Abort all open connections, and every new one immediately."""
        self._change(_Faults(refuses=True))
        self._call(self._cut_all())

    def heal(self) -> None:
        """Forward again. Connections are aborted if bytes were dropped, because their streams are broken."""
        harmed = self._faults.drops_replies or self._faults.drops_requests
        self._change(_Faults())
        if harmed:
            self._call(self._cut_all())

    def _change(self, faults: _Faults) -> None:
        self._faults = faults

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
        if self._faults.refuses:
            writer.transport.abort()
            return
        try:
            upstream_reader, upstream_writer = await asyncio.open_connection(*self._upstream)
        except OSError:
            writer.transport.abort()
            return
        self._accepted += 1
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
        return lambda chunk: Fate.DROP if self._faults.drops_requests else script.on_request(chunk)

    def _reply_fate(self, script: Script) -> Callable[[bytes], Fate]:
        return lambda chunk: Fate.DROP if self._faults.drops_replies else script.on_reply(chunk)

    async def _pump(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        pair: _Pair,
        fate_of: Callable[[bytes], Fate],
    ) -> None:
        """Forward one direction until either side closes the connection."""
        with contextlib.suppress(OSError):
            while chunk := await reader.read(_CHUNK_BYTES):
                await asyncio.sleep(self._faults.delay_seconds)
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
        """Abort both ends; unsent bytes are lost."""
        self.client.transport.abort()
        self.server.transport.abort()
