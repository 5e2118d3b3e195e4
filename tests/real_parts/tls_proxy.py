"""A TLS-terminating proxy in front of a plain TCP port, as a cluster puts one before Redis or an HTTP API."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from tests.real_parts.certificates import ServerCertificate
from tests.real_parts.ports import LOOPBACK

_CHUNK = 1 << 16
_START_SECONDS = 20.0


@contextmanager
def tls_in_front_of(port: int, certificate: ServerCertificate) -> Iterator[int]:
    """Accept TLS on a free loopback port, which is yielded, and pass the bytes on to `port`."""
    started, bound = threading.Event(), []
    loop, stop = asyncio.new_event_loop(), asyncio.Event()

    async def serve() -> None:
        server = await asyncio.start_server(
            lambda reader, writer: _pass_on(reader, writer, port), LOOPBACK, 0, ssl=certificate.context()
        )
        bound.append(server.sockets[0].getsockname()[1])
        started.set()
        await stop.wait()
        server.close()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    try:
        assert started.wait(_START_SECONDS), "the TLS proxy did not start"
        yield bound[0]
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(_START_SECONDS)
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int) -> None:
    inner_reader, inner_writer = await asyncio.open_connection(LOOPBACK, port)
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.gather(_pump(reader, inner_writer), _pump(inner_reader, writer))


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Copy until one side ends, and then end the other."""
    try:
        while data := await reader.read(_CHUNK):
            writer.write(data)
            await writer.drain()
    except (ConnectionError, asyncio.CancelledError):
        pass
    finally:
        writer.close()
