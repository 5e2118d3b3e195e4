"""The outbox publisher: sends queued jobs from the ledger to the broker, and retries until they are sent."""

from __future__ import annotations

import asyncio
import logging
import random

from creditline.errors import Unavailable
from creditline.gateway.broker import Broker
from creditline.gateway.metrics import GatewayMetrics
from creditline.ledger import Ledger
from creditline.retries import RetryPolicy

_BATCH = 100
_IDLE_SECONDS = 2.0
_BACK_OFF = RetryPolicy(initial_delay_seconds=4.0, max_delay_seconds=15.0, jitter=0.5)
_log = logging.getLogger(__name__)


class OutboxPublisher:
    """Publishes the ledger's queued jobs, as one task of the gateway.

    While the broker or the ledger is down, jobs wait in the ledger. Several gateways may publish the same
    job; the worker runs it once.
    """

    def __init__(
        self, ledger: Ledger, broker: Broker, metrics: GatewayMetrics, rng: random.Random | None = None
    ) -> None:
        """
        Args:
            ledger: Ledger that holds the outbox.
            broker: Broker that the jobs are sent to.
            metrics: Counts waiting jobs.
            rng: Source of the back-off's jitter; None for one that differs from gateway to gateway.
        """
        self._ledger = ledger
        self._broker = broker
        self._metrics = metrics
        self._woken = asyncio.Event()
        self._rng = rng or random.Random()
        self._failures = 0
        self._wait_seconds = _IDLE_SECONDS

    def wake(self) -> None:
        """Publish the outbox now instead of at the next interval."""
        self._woken.set()

    async def run(self) -> None:
        """Publish jobs until the task is cancelled."""
        while True:
            self._woken.clear()
            await self._round()
            try:
                async with asyncio.timeout(self._wait_seconds):
                    await self._woken.wait()
            except TimeoutError:
                continue

    async def _round(self) -> None:
        try:
            await asyncio.to_thread(self.publish_waiting)
        except Unavailable as error:
            if not self._failures:
                _log.warning("jobs wait in the outbox: %s", error.message)
            self._wait_seconds = _BACK_OFF.delay(self._failures, self._rng)
            self._failures += 1
        except Exception:
            _log.exception("unhandled error while publishing the outbox; it is retried")
        else:
            self._failures, self._wait_seconds = 0, _IDLE_SECONDS

    def publish_waiting(self) -> int:
        """Publish a batch of waiting jobs, oldest first. Blocks.

        Returns:
            Number of published jobs.

        Raises:
            Unavailable: The ledger or the broker does not answer.
        """
        entries = self._ledger.unpublished(_BATCH)
        self._metrics.outbox_waiting.set(len(entries))
        for entry in entries:
            self._broker.send(entry)
            self._ledger.mark_published([entry.id])
            self._metrics.outbox_waiting.dec()
        return len(entries)
