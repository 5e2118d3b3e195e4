"""gRPC channels to Qdrant: the API key with every call, quick reconnection, and reads that are sent again."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any

import grpc

from creditline import __version__
from creditline.credentials.channels import open_async_channel, open_channel
from creditline.credentials.qdrant import QdrantCredentials
from creditline.index.connection.failures import QdrantAddress
from creditline.qdrant_messages import qdrant
from creditline.retries import RetryPolicy

_READS = {
    "qdrant.Collections": ("Get", "List", "CollectionExists", "ListAliases"),
    "qdrant.Points": ("Get", "Query", "QueryBatch", "Count", "Scroll", "Facet"),
}
"""The calls that change nothing, by gRPC service: only these may be sent twice."""

_RETRIES = RetryPolicy(initial_delay_seconds=0.05, max_delay_seconds=0.2, max_attempts=3)
_API_KEY = "api-key"
_UNLIMITED = -1
_PING_MS = 10_000
# An ingest may keep a small machine's Qdrant busy.
_PING_TIMEOUT_MS = 10_000
NOTICED_SECONDS = (2 * _PING_MS + _PING_TIMEOUT_MS) / 1e3
"""Longest time until a connection that has gone silent is given up, while calls wait: something may have been
received since the last time that it was looked at."""
# A connection is closed within milliseconds where all its calls were started whole.
_CLOSE_SECONDS = 5.0


class QdrantConnection:
    """A channel to Qdrant with the stubs of its services; it connects at the first call.

    Args:
        address: Address of Qdrant.
        credentials: API key and TLS.

    Raises:
        CreditlineError: A file of the credentials cannot be used.
    """

    def __init__(self, address: QdrantAddress, credentials: QdrantCredentials) -> None:
        self._channel = open_channel(str(address), credentials.tls, channel_options())
        key = credentials.current_api_key()
        keyed = grpc.intercept_channel(self._channel, _WithKey(key)) if key else self._channel
        self.points = qdrant.PointsStub(keyed)
        """Stub of the service for points."""
        self.collections = qdrant.CollectionsStub(keyed)
        """Stub of the service for collections."""

    def close(self) -> None:
        """Close the connection; calls in flight are cancelled.

        Waits for a few seconds at most: gRPC waits for the end of every call, and would wait for ever for one
        whose start Ctrl-C interrupted when the call was registered and nothing listened for its end yet.
        """
        closing = threading.Thread(target=self._channel.close, name="qdrant-close", daemon=True)
        closing.start()
        closing.join(_CLOSE_SECONDS)


class AsyncQdrantConnection:
    """`QdrantConnection` for asyncio; to be created on a running event loop.

    Args:
        address: Address of Qdrant.
        credentials: API key and TLS.

    Raises:
        CreditlineError: A file of the credentials cannot be used.
    """

    def __init__(self, address: QdrantAddress, credentials: QdrantCredentials) -> None:
        key = credentials.current_api_key()
        self._channel = open_async_channel(
            str(address),
            credentials.tls,
            channel_options(),
            # An interceptor costs a task per call.
            (_AsyncWithKey(key),) if key else (),
        )
        self.points = qdrant.PointsStub(self._channel)
        """Stub of the service for points."""
        self.collections = qdrant.CollectionsStub(self._channel)
        """Stub of the service for collections."""

    async def close(self) -> None:
        """Close the connection; calls in flight are cancelled."""
        await self._channel.close()


class _Details(grpc.ClientCallDetails):
    """Details of a call whose metadata has one more entry."""

    def __init__(self, call: Any, entry: tuple[str, str]) -> None:
        self.method = call.method
        self.timeout = call.timeout
        self.metadata = (*(call.metadata or ()), entry)
        self.credentials = call.credentials
        self.wait_for_ready = call.wait_for_ready
        self.compression = call.compression


class _WithKey(grpc.UnaryUnaryClientInterceptor):
    """Adds the API key to the metadata of every call; all calls used here are unary.

    Args:
        key: Returns the key.
    """

    def __init__(self, key: Callable[[], str]) -> None:
        self._key = key

    def intercept_unary_unary(self, continuation: Callable[..., Any], call: Any, request: Any) -> Any:
        """Make the call with the key."""
        return continuation(_Details(call, (_API_KEY, self._key())), request)


class _AsyncWithKey(grpc.aio.UnaryUnaryClientInterceptor):
    """`_WithKey` for asyncio.

    Args:
        key: Returns the key.
    """

    def __init__(self, key: Callable[[], str]) -> None:
        self._key = key

    async def intercept_unary_unary(self, continuation: Callable[..., Any], call: Any, request: Any) -> Any:
        """Make the call with the key."""
        metadata = grpc.aio.Metadata(*(call.metadata or ()), (_API_KEY, self._key()))
        return await continuation(call._replace(metadata=metadata), request)


def channel_options() -> tuple[tuple[str, Any], ...]:
    """Options for a synchronous or asyncio channel to Qdrant.

    A call can be put on a connection that is closed under it, for instance just after Qdrant has restarted
    or a proxy has dropped the connection. Reads are then sent again on a new connection, within their
    deadline; a write never is, because it may have been carried out.

    A connection whose other end has vanished without a word is found by pings while calls wait. Without these
    every call would be put on it and end at its deadline, for a quarter of an hour.
    """
    options = {
        "grpc.primary_user_agent": f"creditline/{__version__}",
        # Batches of vectors and pages of works pass gRPC's default of 4 MiB.
        "grpc.max_send_message_length": _UNLIMITED,
        "grpc.max_receive_message_length": _UNLIMITED,
        "grpc.service_config": json.dumps(_service_config()),
        "grpc.enable_retries": 1,
        "grpc.keepalive_time_ms": _PING_MS,
        "grpc.keepalive_timeout_ms": _PING_TIMEOUT_MS,
        # By this option grpc 1.85.1 waits for the answer to a ping (a minute by default), not by the other.
        "grpc.http2.ping_timeout_ms": _PING_TIMEOUT_MS,
        # By default a call that waits for its answer is checked twice only.
        "grpc.http2.max_pings_without_data": 0,
        # gRPC's default maximum of two minutes would delay the discovery that Qdrant is back.
        "grpc.initial_reconnect_backoff_ms": 100,
        # In spite of its name, this is the timeout of one connection attempt.
        "grpc.min_reconnect_backoff_ms": 2_000,
        "grpc.max_reconnect_backoff_ms": 1_000,
        # Without this, a new client would share the backoff of one that has just failed.
        "grpc.use_local_subchannel_pool": 1,
        # Qdrant runs next to its callers; an HTTP proxy for outside traffic must not be used.
        "grpc.enable_http_proxy": 0,
    }
    return tuple(options.items())


def _service_config() -> dict[str, Any]:
    """gRPC service config, see https://github.com/grpc/grpc-proto/blob/master/grpc/service_config/."""
    names = [
        {"service": service, "method": method} for service, methods in _READS.items() for method in methods
    ]
    return {"methodConfig": [{"name": names, "retryPolicy": _RETRIES.grpc(["UNAVAILABLE"])}]}
