"""gRPC health checks that follow readiness, one state per service.

The empty service name stands for the process: SERVING from start to stop, for probes that would restart it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Mapping
from typing import Any

from grpc_health.v1 import health_pb2

from creditline.gateway.readiness import Readiness, ReadinessCheck

_PERIOD_SECONDS = 5.0
_PROCESS = ""
_NEEDS: Mapping[str, frozenset[str]] = {
    "creditline.v1.Attribution": frozenset({"embedder", "qdrant", "ledger", "decoder"}),
    "creditline.v1.Catalog": frozenset({"ledger"}),
    "creditline.v1.Audits": frozenset({"ledger"}),
    "creditline.v1.Releases": frozenset({"ledger"}),
    "creditline.v1.Withdrawals": frozenset({"ledger"}),
    "creditline.v1.Contributors": frozenset({"ledger"}),
}
"""The dependencies without which a service cannot answer."""
SERVICES = tuple(_NEEDS)
"""Full names of the gateway's services."""
_SERVING = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
_log = logging.getLogger(__name__)


class FollowedHealth:
    """Sets the states of a health servicer from readiness, every five seconds.

    Args:
        servicer: The servicer of `grpc_health`, for asyncio.
        readiness: Checks the services that the gateway depends on.
    """

    def __init__(self, servicer: Any, readiness: ReadinessCheck) -> None:
        self._servicer = servicer
        self._readiness = readiness
        self._following: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Report the process as serving, its services as not serving yet, and begin to follow readiness."""
        await self._servicer.set(_PROCESS, _SERVING)
        for service in SERVICES:
            await self._servicer.set(service, _NOT_SERVING)
        self._following = asyncio.create_task(self._follow())

    async def stop(self) -> None:
        """Report NOT_SERVING for everything, for good."""
        if self._following is not None:
            self._following.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._following
        await self._servicer.enter_graceful_shutdown()

    async def _follow(self) -> None:
        while True:
            try:
                await self._apply(await self._readiness())
            except Exception:
                _log.exception("readiness could not be checked for gRPC health")
            await asyncio.sleep(_PERIOD_SECONDS)

    async def _apply(self, readiness: Readiness) -> None:
        down = {dependency.service for dependency in readiness.dependencies if not dependency.up}
        for service, needs in _NEEDS.items():
            await self._servicer.set(service, _NOT_SERVING if needs & down else _SERVING)
