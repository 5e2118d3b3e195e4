"""Options of the gRPC channels to Qdrant: quick reconnection, and reads that are sent again."""

from __future__ import annotations

import json
from typing import Any

from creditline.retries import RetryPolicy

_READS = {
    "qdrant.Collections": ("Get", "List", "CollectionExists", "ListAliases"),
    "qdrant.Points": ("Get", "Query", "QueryBatch", "Count", "Scroll", "Facet"),
}
"""The calls that change nothing, by gRPC service: only these may be sent twice."""

_RETRIES = RetryPolicy(initial_delay_seconds=0.05, max_delay_seconds=0.2, max_attempts=3)


def channel_options() -> dict[str, Any]:
    """Options for a synchronous or asyncio channel to Qdrant.

    A call can be put on a connection that is closed under it, for instance just after Qdrant has restarted
    or a proxy has dropped the connection. Reads are then sent again on a new connection, within their
    deadline; a write never is, because it may have been carried out.
    """
    return {
        "grpc.service_config": json.dumps(_service_config()),
        "grpc.enable_retries": 1,
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


def _service_config() -> dict[str, Any]:
    """gRPC service config, see https://github.com/grpc/grpc-proto/blob/master/grpc/service_config/."""
    names = [
        {"service": service, "method": method} for service, methods in _READS.items() for method in methods
    ]
    return {"methodConfig": [{"name": names, "retryPolicy": _RETRIES.grpc(["UNAVAILABLE"])}]}
