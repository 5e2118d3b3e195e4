"""Readiness: the state of each service that the gateway depends on."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from creditline.embedder_client.queries import EmbedderClient
from creditline.embedder_client.reranking import RerankerClient
from creditline.errors import CreditlineError, NotReady
from creditline.gateway.breakers.breakers import Breakers
from creditline.gateway.broker import Broker
from creditline.gateway.decoding.pool import DecoderPool
from creditline.gateway.metrics import GatewayMetrics
from creditline.gateway.use_cases.live_build import LiveBuild
from creditline.gateway.use_cases.releases import ServedRelease
from creditline.gateway.withdrawals.enforcement import WithdrawalEnforcer
from creditline.ledger import Ledger

_CHECK_SECONDS = 2.0
_WITHDRAWALS = "withdrawals"
_RERANKER = "reranker"
SERVICES = ("embedder", "qdrant", "ledger", "decoder", "redis", _WITHDRAWALS)
"""Names of all dependencies, without the reranker, which only some gateways have."""
_NOT_REQUIRED = ("redis", _WITHDRAWALS, _RERANKER)


@dataclass(frozen=True)
class Dependency:
    """The state of one service."""

    service: str
    """Name of the service, such as `qdrant`."""
    up: bool
    """Whether it answers."""
    message: str
    """What is wrong and what to do; empty when the service is up."""


@dataclass(frozen=True)
class Readiness:
    """Whether attributions can be answered, and the state of each service."""

    ready: bool
    """False when a service that answers need is down. Redis is not one of these: audits wait in the outbox.
    Nor is a reranker, which fast answers do without. Nor are withdrawals that are not carried out in the
    index yet: every answer reads them from the ledger."""
    dependencies: tuple[Dependency, ...]
    """State of each service."""


class ReadinessCheck:
    """Checks all services concurrently."""

    def __init__(
        self,
        *,
        release: ServedRelease,
        embedder: EmbedderClient,
        reranker: RerankerClient | None,
        live_build: LiveBuild,
        ledger: Ledger,
        broker: Broker,
        decoders: DecoderPool,
        enforcer: WithdrawalEnforcer,
        breakers: Breakers,
        metrics: GatewayMetrics,
    ) -> None:
        """
        Args:
            release: The live release.
            embedder: Client of the embedder.
            reranker: Client of a reranker of its own; None: there is none to check.
            live_build: The build that answers.
            ledger: The ledger.
            broker: The broker.
            decoders: The decoders.
            enforcer: Carries out withdrawals.
            breakers: Breakers of the services.
            metrics: Shows which services are up.
        """
        self._release = release.summary
        self._embedder = embedder
        self._reranker = reranker
        self._live_build = live_build
        self._ledger = ledger
        self._broker = broker
        self._decoders = decoders
        self._enforcer = enforcer
        self._breakers = breakers
        self._metrics = metrics
        for service in (*SERVICES, *((_RERANKER,) if reranker else ())):
            metrics.dependency_up.labels(service).set(False)

    async def __call__(self) -> Readiness:
        """The state of all dependencies, within four seconds."""
        dependencies = await asyncio.gather(
            _state("embedder", self._check_embedder),
            _state("qdrant", self._check_qdrant),
            _state("ledger", self._check_ledger),
            _state("decoder", self._check_decoders),
            _state("redis", self._check_redis),
            _state(_WITHDRAWALS, self._check_withdrawals),
            *((_state(_RERANKER, self._reranker.check),) if self._reranker else ()),
        )
        for dependency in dependencies:
            self._metrics.dependency_up.labels(dependency.service).set(dependency.up)
        ready = all(each.up for each in dependencies if each.service not in _NOT_REQUIRED)
        return Readiness(ready, tuple(dependencies))

    async def _check_embedder(self) -> None:
        loaded = await self._embedder.loaded_release(deadline_seconds=_CHECK_SECONDS)
        if loaded != self._release.name:
            raise NotReady(
                f"the embedder has release {loaded!r} loaded, the gateway serves {self._release.name!r}; "
                "start both with the same CREDITLINE_RELEASE_DIRECTORY"
            )

    async def _check_withdrawals(self) -> None:
        if self._enforcer.problem:
            raise NotReady(f"withdrawals wait to be carried out in the index: {self._enforcer.problem}")

    async def _check_decoders(self) -> None:
        if problem := self._decoders.problem():
            raise NotReady(f"pictures cannot be decoded: {problem}")

    async def _check_ledger(self) -> None:
        await self._ledger.threads.read(self._ledger.ping)
        if problem := self._breakers.ledger_problem():
            raise NotReady(problem)

    async def _check_qdrant(self) -> None:
        await self._live_build.now(deadline_seconds=_CHECK_SECONDS)

    async def _check_redis(self) -> None:
        await asyncio.to_thread(self._broker.ping)


async def _state(service: str, check: Callable[[], Awaitable[None]]) -> Dependency:
    try:
        async with asyncio.timeout(2 * _CHECK_SECONDS):
            await check()
    except CreditlineError as error:
        return Dependency(service, False, error.message)
    except TimeoutError:
        return Dependency(service, False, f"{service} did not answer within {2 * _CHECK_SECONDS:g} s")
    return Dependency(service, True, "")
