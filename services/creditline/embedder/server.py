"""The embedder's process: gRPC with health checks, metrics over HTTP, and a graceful stop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import grpc
import torch
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import SERVICE_NAME as HEALTH
from grpc_health.v1.health import aio as health
from grpc_reflection.v1alpha import reflection

from creditline.credentials.expiry import expose_expiry
from creditline.credentials.servers import grpc_server_credentials
from creditline.devices import choose_device
from creditline.embedder.batcher import Batcher, BatchLimits
from creditline.embedder.metrics import EmbedderMetrics, RerankMetrics
from creditline.embedder.metrics_server import metrics_server
from creditline.embedder.service import EmbedderService
from creditline.embedder.settings import EmbedderSettings
from creditline.encoder.model import Embedded, EmbedderModel, EmbedItem
from creditline.errors import Conflict
from creditline.long_lived import spare_from_collection
from creditline.observability.process_metrics import Build, expose_process
from creditline.observability.tracing import grpc_server_interceptors
from creditline.release import ENCODER, open_release
from creditline.release.parts import towers_of
from creditline.towers.spec import TowerSpec
from creditline.v1.embedder_pb2_grpc import add_EmbedderServicer_to_server
from creditline.v1.reranker_pb2_grpc import add_RerankerServicer_to_server

if TYPE_CHECKING:
    from creditline.embedder.reranker import Reranked, Reranker, RerankItem
    from creditline.embedder.reranker_service import RerankerService

_LARGEST_MESSAGE_BYTES = 64 << 20
# A call that runs longer than this after its connection's maximum age is cut off. Ingests wait two minutes.
_LONGEST_CALL_SECONDS = 150.0
# Number of pictures that are decoded at the same time; decoded pictures are large.
_DECODERS = 2
_SERVICE, _RERANKER = "creditline.v1.Embedder", "creditline.v1.Reranker"
_KEEPALIVE = (
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    # By this option grpc 1.85.1 waits for the answer to a ping, a minute by default; not by the one above.
    ("grpc.http2.ping_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    # Clients ping every 10 s at the most often; core's default ends connections that ping within 5 minutes.
    ("grpc.http2.min_ping_interval_without_data_ms", 9_000),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 9_000),
)
_LOGGER = logging.getLogger(__name__)


class EmbedderServer:
    """gRPC server and metrics server of one embedder: `async with EmbedderServer(settings, model) as server`.

    Inside the block it serves on `grpc_port` and `metrics_port`. At the end of the block its health becomes
    NOT_SERVING, new calls are refused, and running calls are answered within the grace time.
    """

    def __init__(
        self, settings: EmbedderSettings, model: EmbedderModel, reranker: Reranker | None = None
    ) -> None:
        """
        Args:
            settings: Addresses and limits.
            model: The release's model.
            reranker: Re-ranks works, in a thread of its own; None: this embedder does not.
        """
        self._settings = settings
        self._model = model
        self._reranker = reranker
        self._resources = contextlib.AsyncExitStack()
        self.grpc_port = 0
        self.metrics_port = 0

    async def __aenter__(self) -> Self:
        """Start both servers. Raises Conflict when a port is in use."""
        async with contextlib.AsyncExitStack() as opening:
            await self._start(opening)
            self._resources = opening.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._resources.aclose()

    async def _start(self, resources: contextlib.AsyncExitStack) -> None:
        settings, metrics = self._settings, EmbedderMetrics()
        release = self._model.release
        build = Build("embedder", settings.commit, release.name, release.files.get(ENCODER, ""))
        expose_process(metrics.registry, build)
        expose_expiry(metrics.registry, {"embedder": settings.tls_of_embedder})
        metrics.release.labels(self._model.release.name).set(1)
        metrics.device.info(self._model.device.labels())
        metrics.towers(self._model.eager)
        limits = BatchLimits(
            settings.embedder_max_batch, settings.embedder_max_wait_ms / 1e3, settings.embedder_queue
        )
        batcher = await resources.enter_async_context(
            Batcher(self._timed_forward(metrics), limits, metrics.batch)
        )
        metrics.waiting.set_function(lambda: len(batcher))
        metrics.oldest_seconds.set_function(batcher.oldest_seconds)
        metrics.queue_limit.set(limits.queue)
        decoders = resources.enter_context(ThreadPoolExecutor(_DECODERS, "decode"))
        service = EmbedderService(
            self._model.release,
            batcher,
            decoders,
            metrics.calls,
            max_batch=limits.max_batch,
            prepare=self._model.prepared,
            device=self._model.device,
        )
        reranker_service = await self._open_reranking(resources, metrics)
        self.metrics_port = self._serve_metrics(resources, metrics)
        self.grpc_port = await self._serve(resources, service, reranker_service)

    async def _open_reranking(
        self, resources: contextlib.AsyncExitStack, metrics: EmbedderMetrics
    ) -> RerankerService | None:
        """The service that re-ranks, with a queue and a thread of its own; None: this embedder does not."""
        if self._reranker is None:
            return None
        from creditline.embedder.reranker_service import RerankerService

        own = RerankMetrics(metrics.registry)
        limits = BatchLimits(1, 0.0, self._settings.embedder_rerank_queue)
        batcher = await resources.enter_async_context(Batcher(_timed_scores(self._reranker, own), limits))
        own.waiting.set_function(lambda: len(batcher))
        own.oldest_seconds.set_function(batcher.oldest_seconds)
        own.queue_limit.set(limits.queue)
        return RerankerService(self._model.release, self._reranker.rows, batcher, own.calls)

    def _timed_forward(self, metrics: EmbedderMetrics) -> Callable[[list[EmbedItem]], list[Embedded]]:
        """The model's forward pass, with its durations recorded."""

        def forward(items: list[EmbedItem]) -> list[Embedded]:
            embedded = self._model.forward(items)
            metrics.forward(embedded[0].tower_ms / 1e3, embedded[0].head_ms / 1e3)
            return embedded

        return forward

    def _serve_metrics(self, resources: contextlib.AsyncExitStack, metrics: EmbedderMetrics) -> int:
        host, port = self._settings.embedder_host, self._settings.embedder_metrics_port
        try:
            serving = metrics_server(host, port, metrics.registry, self._settings.tls_of_embedder)
            return resources.enter_context(serving)
        except OSError as failure:
            raise _port_in_use(host, port, "CREDITLINE_EMBEDDER_METRICS_PORT") from failure

    async def _serve(
        self,
        resources: contextlib.AsyncExitStack,
        service: EmbedderService,
        reranker_service: RerankerService | None,
    ) -> int:
        host, port = self._settings.embedder_host, self._settings.embedder_port
        server = grpc.aio.server(
            interceptors=grpc_server_interceptors(), options=_server_options(self._settings)
        )
        health_servicer = health.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(health_servicer, server)
        add_EmbedderServicer_to_server(service, server)
        services = [_SERVICE]
        if reranker_service is not None:
            add_RerankerServicer_to_server(reranker_service, server)
            services.append(_RERANKER)
        reflection.enable_server_reflection((*services, HEALTH, reflection.SERVICE_NAME), server)
        try:
            bound = self._bind(server, f"{host}:{port}")
        except RuntimeError as failure:
            raise _port_in_use(host, port, "CREDITLINE_EMBEDDER_PORT") from failure
        await server.start()
        for name in ("", *services):
            await health_servicer.set(name, health_pb2.HealthCheckResponse.SERVING)
        resources.push_async_callback(self._stop, server, health_servicer)
        return bound

    def _bind(self, server: Any, address: str) -> int:
        tls = self._settings.tls_of_embedder
        if tls is None:
            return int(server.add_insecure_port(address))
        return int(server.add_secure_port(address, grpc_server_credentials(tls)))

    async def _stop(self, server: Any, health_servicer: Any) -> None:
        await health_servicer.enter_graceful_shutdown()
        await server.stop(self._settings.embedder_stop_grace_seconds)


def _timed_scores(reranker: Reranker, metrics: RerankMetrics) -> Callable[[list[RerankItem]], list[Reranked]]:
    """The reranker's scores, with their durations recorded."""

    def scores(items: list[RerankItem]) -> list[Reranked]:
        reranked = [reranker.score(item) for item in items]
        for each in reranked:
            metrics.query(each.gradient_ms / 1e3, each.kernel_ms / 1e3)
        return reranked

    return scores


def _server_options(settings: EmbedderSettings) -> list[tuple[str, int]]:
    size = [(f"grpc.max_{way}_message_length", _LARGEST_MESSAGE_BYTES) for way in ("receive", "send")]
    age = [
        ("grpc.max_connection_age_ms", round(settings.embedder_connection_age_seconds * 1e3)),
        ("grpc.max_connection_age_grace_ms", round(_LONGEST_CALL_SECONDS * 1e3)),
    ]
    return [*size, *age, *_KEEPALIVE, ("grpc.so_reuseport", 0)]


def _port_in_use(host: str, port: int, variable: str) -> Conflict:
    return Conflict(
        f"port {port} on {host} cannot be bound; another process may use it: set {variable} to a free one",
        field="port",
    )


def open_model(settings: EmbedderSettings) -> EmbedderModel:
    """The release's model on the device of the settings. Raises as `serve`, except Conflict."""
    device = choose_device(settings.device)
    release = open_release(settings.release_directory)
    return EmbedderModel.open(
        settings.release_directory,
        TowerSpec.parse(towers_of(release, settings.embedder_towers)),
        device,
        compiled=settings.embedder_compiled,
        cache=settings.embedder_towers_cache,
    )


@contextlib.contextmanager
def _reranker(settings: EmbedderSettings, model: EmbedderModel) -> Iterator[Reranker | None]:
    """Context with what re-ranks, where the settings ask for it. Raises as `Reranker.open`."""
    if not settings.embedder_reranks:
        yield None
        return
    # Loads diffusers, which takes seconds and memory.
    from creditline.embedder.reranker import Reranker

    with Reranker.open(settings, model.release, choose_device(settings.device)) as opened:
        yield opened


async def serve(settings: EmbedderSettings) -> None:
    """Load the release and serve until SIGTERM or SIGINT.

    Raises:
        NotReady: The device, the release or the towers are missing.
        FingerprintMismatch: The release was trained on other towers, or its files were changed; or its
            generator or gradient rows are those of another.
        Conflict: A port is in use.
    """
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    model = open_model(settings)
    if not model.eager:
        # Torch then runs only the encoder's head, which is too small to be divided among threads, and queries
        # to be re-ranked, which leave the other processors to embeddings.
        torch.set_num_threads(1)
    with _reranker(settings, model) as reranker:
        await _serve_until(stop, settings, model, reranker)


async def _serve_until(
    stop: asyncio.Event, settings: EmbedderSettings, model: EmbedderModel, reranker: Reranker | None
) -> None:
    async with EmbedderServer(settings, model, reranker) as server:
        spare_from_collection()
        _LOGGER.info(
            "embedder ready: release %s%s, models run on %s (CREDITLINE_DEVICE is %s), gRPC on %s:%d,"
            " metrics on %d",
            model.release.name,
            " with re-ranking" if reranker else "",
            model.device,
            settings.device,
            settings.embedder_host,
            server.grpc_port,
            server.metrics_port,
        )
        await stop.wait()
        _LOGGER.info("embedder stopping: finishing the calls that it has accepted")
