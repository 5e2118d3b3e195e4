"""Options of the gRPC channel to the embedder: calls are spread over all replicas and retried on another.

Without a load-balancing policy gRPC uses the first address of a name as long as it answers. Here calls
rotate through all addresses of the name (`round_robin`). gRPC resolves a name again when one of its
connections ends; the embedder limits the age of connections (`CREDITLINE_EMBEDDER_CONNECTION_AGE_SECONDS`),
so that new replicas are found.

A replica that is frozen, or behind a network that has gone silent, is noticed within `NOTICED_SECONDS` by
pings while a call waits. Until then calls to it end at their deadlines; then they are made by the other
replicas, or fail as UNAVAILABLE at once, until it answers again.
"""

from __future__ import annotations

import json
from typing import Any

from creditline.retries import RetryPolicy

ChannelOptions = tuple[tuple[str, int | str], ...]

# A call that fails on one replica is retried on the next; embedding is idempotent. gRPC itself does the
# retries, with at most five attempts, and adds jitter.
_RETRIES = RetryPolicy(initial_delay_seconds=0.05, max_delay_seconds=0.5, max_attempts=4)
# A server of grpcio 1.85.1 answers CANCELLED to some calls that arrive during its shutdown, even a graceful
# one. A call that is cancelled by its caller is never retried.
_RETRYABLE = ("UNAVAILABLE", "CANCELLED")
_SERVICE = "creditline.v1.Embedder"
_MAX_MESSAGE_BYTES = 64 << 20
_RESOLUTION_INTERVAL_MS = 1_000
# Embedders end connections that ping more often than every 9 s.
_PING_MS = 10_000
_PING_TIMEOUT_MS = 5_000
NOTICED_SECONDS = (2 * _PING_MS + _PING_TIMEOUT_MS) / 1e3
"""Longest time until a connection that has gone silent is given up, while calls wait: something may have been
received since the last time that it was looked at."""


def channel_options() -> ChannelOptions:
    """Options for a synchronous or asyncio channel to the embedder."""
    return (
        ("grpc.service_config", json.dumps(_service_config(_RETRIES))),
        ("grpc.enable_retries", 1),
        # A call whose request does not fit into this buffer is never retried; the default is 256 KiB.
        ("grpc.per_rpc_retry_buffer_size", _MAX_MESSAGE_BYTES),
        # The default is 30 s.
        ("grpc.dns_min_time_between_resolutions_ms", _RESOLUTION_INTERVAL_MS),
        # A client whose embedder is replaced must connect to the new one within a second.
        ("grpc.initial_reconnect_backoff_ms", 100),
        # This is also the time limit of one attempt to connect.
        ("grpc.min_reconnect_backoff_ms", 5_000),
        ("grpc.max_reconnect_backoff_ms", 1_000),
        ("grpc.keepalive_time_ms", _PING_MS),
        ("grpc.keepalive_timeout_ms", _PING_TIMEOUT_MS),
        # By this option grpc 1.85.1 waits for the answer to a ping (a minute by default), not by the other.
        ("grpc.http2.ping_timeout_ms", _PING_TIMEOUT_MS),
        # By default a call that waits for its answer is checked twice only.
        ("grpc.http2.max_pings_without_data", 0),
        # Otherwise a new channel shares the back-off of a channel that failed just before.
        ("grpc.use_local_subchannel_pool", 1),
        # The embedder is in the callers' own network; calls must not go through an HTTP proxy.
        ("grpc.enable_http_proxy", 0),
        ("grpc.max_receive_message_length", _MAX_MESSAGE_BYTES),
        ("grpc.max_send_message_length", _MAX_MESSAGE_BYTES),
    )


def _service_config(retries: RetryPolicy) -> dict[str, Any]:
    """gRPC service config, see https://github.com/grpc/grpc-proto/blob/master/grpc/service_config/."""
    return {
        "loadBalancingConfig": [{"round_robin": {}}],
        "methodConfig": [
            {
                "name": [{"service": _SERVICE}],
                "retryPolicy": retries.grpc(_RETRYABLE),
            }
        ],
    }
