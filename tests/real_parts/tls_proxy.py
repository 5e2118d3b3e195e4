"""A TLS-terminating proxy in front of a plain TCP port, as a cluster puts one before Redis or an HTTP API.

With `postgres` it speaks the beginning of PostgreSQL's protocol, which asks for TLS over plain text first.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from tests.real_parts.certificates import ServerCertificate
from tests.real_parts.ports import LOOPBACK

_CHUNK = 1 << 16
_START_SECONDS = 20.0
# Length and code of the message SSLRequest.
_SSL_REQUEST = (8).to_bytes(4, "big") + (80_877_103).to_bytes(4, "big")


@contextmanager
def tls_in_front_of(port: int, certificate: ServerCertificate, *, postgres: bool = False) -> Iterator[int]:
    """Accept TLS on a free loopback port, which is yielded, and pass the bytes on to `port`."""
    started, bound = threading.Event(), []
    loop, stop = asyncio.new_event_loop(), asyncio.Event()

    async def serve() -> None:
        context = certificate.context()

        async def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            if postgres and not await _upgraded(reader, writer, context):
                writer.close()
                return
            await _pass_on(reader, writer, port)

        server = await asyncio.start_server(accepted, LOOPBACK, 0, ssl=None if postgres else context)
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


async def _upgraded(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, context: ssl.SSLContext
) -> bool:
    """Grant a client of PostgreSQL its request for TLS; False where it sends something else, or gives up."""
    with contextlib.suppress(ssl.SSLError, OSError, asyncio.IncompleteReadError):
        if await reader.readexactly(len(_SSL_REQUEST)) == _SSL_REQUEST:
            writer.write(b"S")
            await writer.start_tls(context)
            return True
    return False


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
