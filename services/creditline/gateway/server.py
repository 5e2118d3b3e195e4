"""The gateway: one process, one event loop, gRPC and REST over the same use cases."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from collections.abc import Callable, Coroutine
from dataclasses import replace
from functools import partial
from types import TracebackType
from typing import Any, Self

from starlette.types import ASGIApp

from creditline.corpus.identity import Bearers
from creditline.corpus.works import Corpus
from creditline.credentials.expiry import expose_expiry
from creditline.credentials.tls_files import TlsFiles
from creditline.embedder_client.queries import EmbedderClient
from creditline.embedder_client.reranking import RerankerClient
from creditline.gateway.access.key_limits import KeyLimits
from creditline.gateway.access.keys import ApiKeys
from creditline.gateway.access.ledger_keys import LedgerKeys
from creditline.gateway.access.static_keys import StaticKeys
from creditline.gateway.admission.admission import Admission, AdmissionPlan
from creditline.gateway.admission.metrics import AdmissionMetrics
from creditline.gateway.application import UseCases
from creditline.gateway.breakers.breakers import Breakers
from creditline.gateway.breakers.metrics import BreakerMetrics
from creditline.gateway.broker import Broker
from creditline.gateway.collection import BackgroundMetrics, Collection
from creditline.gateway.decoding.metrics import DecoderMetrics
from creditline.gateway.decoding.pool import DecoderPool, PoolPlan
from creditline.gateway.delivery import DeliveryMarks
from creditline.gateway.metrics import GatewayMetrics
from creditline.gateway.outbox import OutboxPublisher
from creditline.gateway.readiness import ReadinessCheck
from creditline.gateway.settings import GatewaySettings, LowAgreement
from creditline.gateway.transport.http_server import HttpServer
from creditline.gateway.transport.limits import Limits
from creditline.gateway.transport.middleware import HttpFront
from creditline.gateway.transport.rest import operator_app, rest_app
from creditline.gateway.transport.rpc import RpcServer
from creditline.gateway.use_cases.added_works import AddedWorks
from creditline.gateway.use_cases.attribute import Attribute
from creditline.gateway.use_cases.attributions import Attributions
from creditline.gateway.use_cases.audits import Audits
from creditline.gateway.use_cases.catalog import Catalog
from creditline.gateway.use_cases.contributors import Contributors
from creditline.gateway.use_cases.live_build import LiveBuild
from creditline.gateway.use_cases.prompts.policy import PromptPolicy
from creditline.gateway.use_cases.releases import Releases, open_served_release
from creditline.gateway.use_cases.subjects import Subjects
from creditline.gateway.use_cases.withdrawals import Withdrawals
from creditline.gateway.withdrawals.enforcement import WithdrawalEnforcer
from creditline.gateway.withdrawals.register import WithdrawnRegister
from creditline.index import WorkIndex, WorkSearch
from creditline.ledger import Ledger, StoreLimits
from creditline.long_lived import spare_from_collection
from creditline.observability.process_metrics import Build, expose_process
from creditline.release import ENCODER, Release, open_release, reference_release_directory
from creditline.release.parts import corpus_of

_INDEX_SECONDS = 10.0
# Callers wait for the ledger, so it fails sooner here than for an operator's commands.
_LEDGER_LIMITS = StoreLimits(lock_seconds=2.0, statement_seconds=4.0)
_LIMITS = Limits()
# Connections that are made once. PostgreSQL's client reads its files for every new connection.
_CERTIFICATES_OF_THE_START = ("qdrant", "redis")
_log = logging.getLogger(__name__)


class Gateway:
    """Owner of all connections and of both servers: `async with Gateway(settings) as gateway`.

    Inside the block it serves on `grpc_port`, `http_port` and, where it has one, `metrics_port`; at the end
    of the block, running requests finish.
    """

    def __init__(self, settings: GatewaySettings, limits: Limits = _LIMITS) -> None:
        """
        Args:
            settings: Addresses, release and credentials.
            limits: Limits of what callers can hold or delay.
        """
        self._settings = settings
        self._limits = limits
        self._resources = contextlib.AsyncExitStack()
        self._serving = asyncio.Event()
        self.grpc_port = 0
        self.http_port = 0
        self.metrics_port = 0

    async def __aenter__(self) -> Self:
        """Open all connections and serve. Raises CreditlineError for wrong settings, release or corpus."""
        async with contextlib.AsyncExitStack() as opening:
            await self._start(opening)
            self._resources = opening.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._resources.aclose()

    async def _start(self, resources: contextlib.AsyncExitStack) -> None:
        settings, metrics = self._settings, GatewayMetrics()
        stored = open_release(settings.release_directory or reference_release_directory())
        expose_process(metrics.registry, _build(stored, settings))
        expose_expiry(metrics.registry, _connections(settings), kept=_CERTIFICATES_OF_THE_START)
        ledger = resources.enter_context(Ledger.open(settings.ledger_url, limits=_LEDGER_LIMITS))
        access = self._open_access(resources, metrics, ledger)
        decoders = await resources.enter_async_context(
            DecoderPool(_pool_plan(settings), DecoderMetrics(metrics.registry))
        )
        admission = _admission(settings, metrics)
        use_cases = self._open_use_cases(resources, metrics, decoders, ledger, admission, stored)
        await decoders.started()
        rpc = RpcServer(use_cases, access, metrics, self._limits)
        own_port = settings.gateway_metrics_port is not None
        public = rest_app(use_cases, None if own_port else metrics)
        http = HttpServer(
            HttpFront(public, access, admission, use_cases.marks, metrics, self._limits),
            refused=partial(metrics.refused, "http"),
            limits=self._limits,
            grace_seconds=settings.stop_grace_seconds,
            tls=settings.tls_of_gateway,
        )
        resources.push_async_callback(_stop_servers, rpc, http, settings.stop_grace_seconds)
        if settings.gateway_metrics_port is not None:
            self.metrics_port = await self._serve_metrics(
                resources, settings.gateway_metrics_port, operator_app(use_cases, metrics)
            )
        self.grpc_port = await rpc.start(
            settings.gateway_host, settings.gateway_grpc_port, settings.tls_of_gateway
        )
        self.http_port = await http.start(settings.gateway_host, settings.gateway_http_port)
        # At the end, before both servers wait for what is in progress.
        resources.callback(admission.close)
        self._serving.set()

    def _in_background(
        self, resources: contextlib.AsyncExitStack, run: Callable[[], Coroutine[Any, Any, None]]
    ) -> None:
        """Run a task until the end of the block; it begins when the servers serve, not to delay them."""

        async def once_serving() -> None:
            await self._serving.wait()
            await run()

        resources.push_async_callback(_cancel_and_wait, asyncio.create_task(once_serving()))

    async def _serve_metrics(self, resources: contextlib.AsyncExitStack, port: int, app: ASGIApp) -> int:
        tls = self._settings.tls_of_gateway
        server = HttpServer(
            app,
            refused=lambda reason: None,
            limits=self._limits,
            grace_seconds=0.0,
            setting="gateway_metrics_port",
            # Readers of metrics need no certificate of their own.
            tls=replace(tls, ca=None) if tls else None,
        )
        resources.push_async_callback(server.stop)
        return await server.start(self._settings.gateway_host, port)

    def _open_access(
        self, resources: contextlib.AsyncExitStack, metrics: GatewayMetrics, ledger: Ledger
    ) -> ApiKeys:
        settings = self._settings
        limits = KeyLimits(
            settings.broker_urls(),
            answer_seconds=settings.key_limits_seconds,
            on_local=metrics.key_limits_local.set,
        )
        resources.push_async_callback(limits.close)
        access = ApiKeys(
            StaticKeys(settings.keys, settings.api_keys_file),
            LedgerKeys(ledger.keys, rate=settings.key_rate, quota=settings.key_quota),
            required=settings.require_api_keys,
            on_use=metrics.observe_key,
            limits=limits,
        )
        access.load()
        resources.push_async_callback(asyncio.to_thread, access.record_uses)
        self._in_background(resources, access.run)
        return access

    def _open_use_cases(
        self,
        resources: contextlib.AsyncExitStack,
        metrics: GatewayMetrics,
        decoders: DecoderPool,
        ledger: Ledger,
        admission: Admission,
        stored: Release,
    ) -> UseCases:
        settings = self._settings
        policy = PromptPolicy(settings.least_agreement, settings.low_agreement or LowAgreement.REFUSE)
        policy.check_release(stored)
        corpus = corpus_of(stored, settings.corpus_file)
        release = open_served_release(stored, corpus)
        broker = resources.enter_context(contextlib.closing(Broker(settings.broker_urls())))
        embedder = EmbedderClient(settings.embedder_target, settings.tls_to_embedder)
        resources.push_async_callback(embedder.close)
        reranker = RerankerClient(
            settings.reranker_target or settings.embedder_target, settings.tls_to_embedder
        )
        resources.push_async_callback(reranker.close)
        search = WorkSearch.connect(
            settings.qdrant_host, settings.qdrant_grpc_port, credentials=settings.qdrant_credentials
        )
        resources.push_async_callback(search.close)
        publisher = OutboxPublisher(ledger, broker, metrics)
        self._in_background(resources, publisher.run)
        collected = BackgroundMetrics(metrics.registry)
        ledger.observe_write_waits(collected.write_wait.observe)
        collection = Collection(ledger, broker, collected, settings.gateway_collect_seconds)
        self._in_background(resources, collection.run)
        register = WithdrawnRegister(ledger, _bearers(corpus))
        register.load()
        enforcer = self._open_enforcer(resources, register, metrics)
        added_works = AddedWorks(release, search, ledger)
        catalog, releases = Catalog(corpus, register, added_works), Releases(release, ledger)
        live_build = LiveBuild(release, search)
        subjects = Subjects(catalog, search, release.summary.collection)
        breakers = Breakers(BreakerMetrics(metrics.registry))
        attribute = Attribute(
            releases=releases,
            embedder=embedder,
            reranker=reranker,
            live_build=live_build,
            added_works=added_works,
            search=search,
            ledger=ledger,
            register=register,
            enforcer=enforcer,
            metrics=metrics,
            decoders=decoders,
            admission=admission,
            breakers=breakers,
            audit_fraction=settings.audit_fraction,
            prompt_policy=policy,
            reranked_works=settings.reranked_works,
        )
        readiness = ReadinessCheck(
            release=release,
            embedder=embedder,
            reranker=reranker if settings.reranker_target else None,
            live_build=live_build,
            ledger=ledger,
            broker=broker,
            decoders=decoders,
            enforcer=enforcer,
            breakers=breakers,
            metrics=metrics,
        )
        return UseCases(
            attribute=attribute,
            attributions=Attributions(ledger, releases, register, catalog),
            catalog=catalog,
            audits=Audits(ledger, publisher.wake),
            releases=releases,
            withdrawals=Withdrawals(ledger, register, enforcer, catalog, subjects),
            contributors=Contributors(ledger, register, enforcer, subjects, catalog),
            readiness=readiness,
            admission=admission,
            marks=_open_marks(resources, ledger, metrics),
        )

    def _open_enforcer(
        self, resources: contextlib.AsyncExitStack, register: WithdrawnRegister, metrics: GatewayMetrics
    ) -> WithdrawalEnforcer:
        settings = self._settings
        index = WorkIndex.connect(
            settings.qdrant_host,
            settings.qdrant_grpc_port,
            _INDEX_SECONDS,
            credentials=settings.qdrant_credentials,
        )
        resources.callback(index.close)
        enforcer = WithdrawalEnforcer(register, index, metrics)
        self._in_background(resources, enforcer.run)
        return enforcer


def _build(release: Release, settings: GatewaySettings) -> Build:
    return Build("gateway", settings.commit, release.name, release.files[ENCODER])


def _connections(settings: GatewaySettings) -> dict[str, TlsFiles | None]:
    """Files of TLS by connection."""
    return {
        "gateway": settings.tls_of_gateway,
        "embedder": settings.tls_to_embedder,
        "qdrant": settings.qdrant_credentials.tls,
        "ledger": settings.tls_to_ledger,
        "redis": settings.tls_to_broker,
    }


async def _stop_servers(rpc: RpcServer, http: HttpServer, grace_seconds: float) -> None:
    """Let running requests of both faces finish within one grace."""
    await asyncio.gather(rpc.stop(grace_seconds), http.stop())


def _open_marks(
    resources: contextlib.AsyncExitStack, ledger: Ledger, metrics: GatewayMetrics
) -> DeliveryMarks:
    marks = DeliveryMarks(ledger, metrics.registry)
    resources.push_async_callback(marks.finish)
    resources.push_async_callback(_cancel_and_wait, asyncio.create_task(marks.run()))
    return marks


def _admission(settings: GatewaySettings, metrics: GatewayMetrics) -> Admission:
    plan = AdmissionPlan(
        settings.answers_at_once, settings.admission_queue_mib, settings.request_timeout_seconds
    )
    return Admission(plan, AdmissionMetrics(metrics.registry))


def _pool_plan(settings: GatewaySettings) -> PoolPlan:
    return PoolPlan(
        decoders=settings.decoders,
        cpu_seconds=settings.decode_cpu_seconds,
        memory_mib=settings.decode_memory_mib,
        pixels=round(settings.decode_megapixels * 1e6),
        most_queued=settings.decode_queue,
        most_queued_mib=settings.decode_queue_mib,
    )


def _bearers(corpus: Corpus) -> Bearers:
    return Bearers(
        person
        for work in corpus
        for person in (
            (work.contributor, work.contributor_id),
            *((holder.name, "") for holder in work.rights_holders),
        )
    )


async def _cancel_and_wait(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def serve(settings: GatewaySettings, limits: Limits = _LIMITS) -> None:
    """Run a gateway until SIGTERM or SIGINT.

    Args:
        settings: Addresses, release and credentials.
        limits: Limits of what callers can hold or delay.

    Raises:
        CreditlineError: The settings, the release or the corpus do not permit a start.
    """
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    async with Gateway(settings, limits) as gateway:
        spare_from_collection()
        _log.info(
            "gateway ready: gRPC on %s:%d, HTTP on %s:%d",
            settings.gateway_host,
            gateway.grpc_port,
            settings.gateway_host,
            gateway.http_port,
        )
        await stopped.wait()
        _log.info("gateway stopping")
