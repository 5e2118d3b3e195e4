"""The server process: gRPC server, health checks, metrics, and a graceful stop."""

from __future__ import annotations

import asyncio
import importlib.metadata
import logging
import signal
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
import grpc.aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from prometheus_client import start_http_server

from creditline.errors import Conflict
from creditline.local.qdrant.api.calls import METRICS, ServedCalls, served
from creditline.local.qdrant.api.collections_service import CollectionsService
from creditline.local.qdrant.api.points_service import PointsService
from creditline.local.qdrant.api.snapshots_service import SnapshotsService
from creditline.local.qdrant.storage.directory import CollectionDirectory
from creditline.qdrant_messages import qdrant

_LOGGER = logging.getLogger(__name__)
# Threads for calls that may wait for the disk. Edge holds the GIL, so they do not compute in parallel.
_THREADS = 16
_LARGEST_MESSAGE_BYTES = 64 * 1024 * 1024
_OPTIONS = (
    ("grpc.max_receive_message_length", _LARGEST_MESSAGE_BYTES),
    ("grpc.so_reuseport", 0),
    # Clients ping every 10 s while a call waits; core's default ends connections that ping within 5 minutes.
    ("grpc.http2.min_ping_interval_without_data_ms", 9_000),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 9_000),
)
_STOP_GRACE_SECONDS = 5.0
_SERVICES = ("", "qdrant.Collections", "qdrant.Points", "qdrant.Snapshots", "qdrant.Qdrant")


class QdrantService(qdrant.QdrantServicer):
    """Implements `qdrant.Qdrant`: Qdrant's own health check."""

    @served
    def HealthCheck(self, request: qdrant.HealthCheckRequest) -> qdrant.HealthCheckReply:  # noqa: N802
        version = importlib.metadata.version("qdrant-edge-py")
        return qdrant.HealthCheckReply(title="Creditline's local process over Qdrant Edge", version=version)


@dataclass(frozen=True)
class LocalQdrant:
    """Start-up settings of the process."""

    directory: Path
    """Data directory."""
    grpc_port: int
    """Port of the gRPC server."""
    host: str = "127.0.0.1"
    """Address that the process listens on."""
    metrics_port: int = 0
    """Port of the Prometheus metrics; 0: no metrics."""
    kill_after_alias_actions: int = 0
    """For fault tests: number of alias actions after which the process kills itself; 0: never."""


def run(settings: LocalQdrant) -> None:
    """Serve until SIGTERM or SIGINT, then finish the calls in flight, flush and close.

    Raises:
        Conflict: Another process owns the directory or a port.
    """
    asyncio.run(_run(settings))
    _LOGGER.info("stopped; all acknowledged writes are on disk")


async def _run(settings: LocalQdrant) -> None:
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    loop.set_default_executor(ThreadPoolExecutor(_THREADS, thread_name_prefix="call"))
    # First, because large collections take seconds to open and a signal may arrive meanwhile.
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    with CollectionDirectory(
        settings.directory, kill_after_alias_actions=settings.kill_after_alias_actions
    ) as directory:
        async with _serving(settings, directory):
            _LOGGER.info(
                "serving %d collections of %s on %s:%d",
                len(directory.names()),
                settings.directory,
                settings.host,
                settings.grpc_port,
            )
            await stop.wait()


@asynccontextmanager
async def _serving(settings: LocalQdrant, directory: CollectionDirectory) -> AsyncIterator[None]:
    server, health_of = _server(directory)
    _bind(
        lambda: server.add_insecure_port(f"{settings.host}:{settings.grpc_port}"),
        settings.host,
        settings.grpc_port,
    )
    if settings.metrics_port:
        _bind(
            lambda: start_http_server(settings.metrics_port, settings.host, METRICS),
            settings.host,
            settings.metrics_port,
        )
    await server.start()
    for service in _SERVICES:
        await health_of.set(service, health_pb2.HealthCheckResponse.SERVING)
    try:
        yield
    finally:
        await health_of.enter_graceful_shutdown()
        await server.stop(_STOP_GRACE_SECONDS)


def _server(directory: CollectionDirectory) -> tuple[grpc.aio.Server, health.aio.HealthServicer]:
    calls = ServedCalls()
    qdrant.add_CollectionsServicer_to_server(CollectionsService(directory), calls)
    qdrant.add_PointsServicer_to_server(PointsService(directory), calls)
    qdrant.add_SnapshotsServicer_to_server(SnapshotsService(directory), calls)
    qdrant.add_QdrantServicer_to_server(QdrantService(), calls)
    server = grpc.aio.server(options=_OPTIONS)
    health_of = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(health_of, server)
    # Last, because it handles every call.
    server.add_generic_rpc_handlers((calls,))
    return server, health_of


def _bind(bind: Callable[[], object], host: str, port: int) -> None:
    try:
        bind()
    except (RuntimeError, OSError) as failure:
        raise Conflict(
            f"port {port} on {host} cannot be bound; another process may use it, choose a free one",
            field="port",
        ) from failure
