"""The outbox publisher: takes queued jobs from the ledger to the broker until they arrive."""

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
    """Runs as one task of the gateway. While broker or ledger are down, jobs wait in the ledger.

    Several gateways may publish the same job; the worker runs it once.
    """

    def __init__(
        self, ledger: Ledger, broker: Broker, metrics: GatewayMetrics, rng: random.Random | None = None
    ) -> None:
        """`rng`: source of the back-off's jitter; None for one that differs from gateway to gateway."""
        self._ledger = ledger
        self._broker = broker
        self._metrics = metrics
        self._woken = asyncio.Event()
        self._rng = rng or random.Random()
        self._failures = 0
        self._wait_seconds = _IDLE_SECONDS

    def wake(self) -> None:
        """Look into the outbox now."""
        self._woken.set()

    async def run(self) -> None:
        """Publish until cancelled."""
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
            _log.exception("publishing the outbox failed; it is tried again")
        else:
            self._failures, self._wait_seconds = 0, _IDLE_SECONDS

    def publish_waiting(self) -> int:
        """Publish what waits, oldest first, and return how many. Blocks. Raises Unavailable."""
        entries = self._ledger.unpublished(_BATCH)
        self._metrics.outbox_waiting.set(len(entries))
        for entry in entries:
            self._broker.send(entry)
            self._ledger.mark_published([entry.id])
            self._metrics.outbox_waiting.dec()
        return len(entries)
