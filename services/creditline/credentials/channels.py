"""gRPC channels, encrypted where TLS files are given."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

import grpc

from creditline.credentials.following import Followed
from creditline.credentials.tls_files import TlsContent, TlsFiles

ChannelOptions = Sequence[tuple[str, Any]]
_Stub = TypeVar("_Stub")
# Calls that run when a channel is replaced have this time to end.
_GRACE_SECONDS = 150.0


def channel_credentials(files: TlsFiles) -> grpc.ChannelCredentials:
    """Credentials of a client, which shows the certificate of `files` where they have one.

    Raises:
        CreditlineError: The files cannot be used; see `TlsFiles.read`.
    """
    return _credentials(files.read())


def open_channel(target: str, tls: TlsFiles | None, options: ChannelOptions = ()) -> grpc.Channel:
    """A channel to `target`; its certificates are those of its start.

    Args:
        target: `host:port`, or `dns:///host:port`.
        tls: Files of the client's end; None: no TLS.
        options: Channel arguments of gRPC.

    Raises:
        CreditlineError: The files cannot be used; see `TlsFiles.read`.
    """
    if tls is None:
        return grpc.insecure_channel(target, options=options)
    return grpc.secure_channel(target, channel_credentials(tls), options=options)


def open_async_channel(
    target: str,
    tls: TlsFiles | None,
    options: ChannelOptions = (),
    interceptors: Sequence[grpc.aio.ClientInterceptor] = (),
) -> grpc.aio.Channel:
    """`open_channel` for asyncio, whose calls pass through `interceptors`."""
    return _async_channel(target, tls.read() if tls else None, options, interceptors)


class FollowingStub(Generic[_Stub]):
    """A stub on an asyncio channel that is replaced when its TLS files change.

    Args:
        make: Makes the stub of a channel.
        target: `host:port`, or `dns:///host:port`.
        tls: Files of the client's end; None: no TLS.
        options: Channel arguments of gRPC.

    Raises:
        CreditlineError: The files cannot be used; see `TlsFiles.read`.
    """

    def __init__(
        self,
        make: Callable[[grpc.aio.Channel], _Stub],
        target: str,
        tls: TlsFiles | None,
        options: ChannelOptions = (),
    ) -> None:
        self._make = make
        self._target = target
        self._options = options
        self._followed: Followed[TlsContent] | None = tls.followed() if tls else None
        self._closing: set[asyncio.Task[None]] = set()
        self._content = self._followed.current() if self._followed else None
        self._open()

    @property
    def stub(self) -> _Stub:
        """The stub to use for a call that begins now; to be called on the event loop."""
        if self._followed and self._followed.current() is not self._content:
            self._content = self._followed.current()
            replaced = asyncio.create_task(self._channel.close(_GRACE_SECONDS))
            self._closing.add(replaced)
            replaced.add_done_callback(self._closing.discard)
            self._open()
        return self._stub

    async def close(self) -> None:
        """Close all channels at once."""
        for closing in self._closing:
            closing.cancel()
        await self._channel.close()

    def _open(self) -> None:
        self._channel = _async_channel(self._target, self._content, self._options)
        self._stub = self._make(self._channel)


def _async_channel(
    target: str,
    content: TlsContent | None,
    options: ChannelOptions,
    interceptors: Sequence[grpc.aio.ClientInterceptor] = (),
) -> grpc.aio.Channel:
    if content is None:
        return grpc.aio.insecure_channel(target, options=options, interceptors=interceptors)
    return grpc.aio.secure_channel(target, _credentials(content), options=options, interceptors=interceptors)


def _credentials(content: TlsContent) -> grpc.ChannelCredentials:
    return grpc.ssl_channel_credentials(content.authorities, content.key, content.certificate)
