"""Whether recorded answers reach their callers, and marks in the ledger for those that do not.

An answer is recorded before it is sent, so that none is sent that is not recorded. It counts as delivered
once it was handed to the caller's open connection; the gateway cannot see further than that.

Deliveries are confirmed in the ledger every second, many at once. What another gateway recorded and did not
confirm, because it was killed, is marked by those that run.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Iterable
from contextvars import ContextVar
from functools import partial

from prometheus_client import CollectorRegistry, Counter, Gauge

from creditline.errors import CreditlineError
from creditline.ledger import Ledger
from creditline.retries import RetryPolicy

_RETRIES = RetryPolicy(initial_delay_seconds=0.5, max_delay_seconds=30.0)
_CONFIRM_SECONDS = 1.0
# Longer than the longest request and the sending of its answers.
_UNCONFIRMED_SECONDS = 900.0
_SWEEP_SECONDS = 60.0
# A stop must not wait for a ledger that is stuck.
_FINISH_SECONDS = 4.0
_log = logging.getLogger(__name__)


class DeliveryMarks:
    """Confirms answers that were delivered, and marks those that were not, in the background.

    A mark that cannot be written is tried again until the gateway stops; the log names it then.

    Args:
        ledger: Ledger that holds the answers.
        registry: Registry of the gateway's metrics.
    """

    def __init__(self, ledger: Ledger, registry: CollectorRegistry) -> None:
        self._ledger = ledger
        self._lost: set[str] = set()
        self._repeated: set[str] = set()
        self._delivered: set[str] = set()
        self._next_sweep = 0.0
        self._changed = asyncio.Event()
        self._undelivered = Counter(
            "creditline_gateway_undelivered",
            "Answers that were recorded and whose caller left before they were sent.",
            registry=registry,
        )
        waiting = Gauge(
            "creditline_gateway_undelivered_waiting",
            "Marks of such answers that are not in the ledger yet.",
            registry=registry,
        )
        waiting.set_function(lambda: len(self._lost))

    def lost(self, attribution_id: str) -> None:
        """An answer that is recorded was not delivered."""
        self._undelivered.inc()
        self._lost.add(attribution_id)
        self._changed.set()

    def delivered(self, attribution_ids: Iterable[str]) -> None:
        """Answers that are recorded were delivered."""
        self._delivered.update(attribution_ids)

    def repeated(self, attribution_id: str) -> None:
        """An answer that was recorded before was delivered to a repeated request."""
        self._repeated.add(attribution_id)
        self._changed.set()

    async def run(self) -> None:
        """Write marks until the task is cancelled."""
        failures = 0
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_CONFIRM_SECONDS):
                    await self._changed.wait()
            self._changed.clear()
            try:
                await self.write()
                await self._sweep()
                failures = 0
            except CreditlineError as error:
                if not failures:
                    _log.warning("marks of undelivered answers wait: %s", error.message)
                await asyncio.sleep(_RETRIES.delay(failures))
                failures += 1
                self._changed.set()

    async def write(self) -> None:
        """Write all marks that wait. Raises Unavailable."""
        lost, repeated, delivered = set(self._lost), set(self._repeated), set(self._delivered)
        if lost:
            await self._ledger.threads.write(self._ledger.mark_undelivered, lost)
            self._lost -= lost
        for attribution_id in repeated:
            await self._ledger.threads.write(self._ledger.mark_delivered, attribution_id)
            self._repeated.discard(attribution_id)
        if delivered:
            await self._ledger.threads.write(self._ledger.confirm_delivered, delivered)
            self._delivered -= delivered

    async def _sweep(self) -> None:
        """Mark what gateways left that were killed, once a minute. Raises Unavailable."""
        if time.monotonic() < self._next_sweep:
            return
        mark = partial(self._ledger.mark_unconfirmed, older_than_seconds=_UNCONFIRMED_SECONDS)
        if found := await self._ledger.threads.write(mark):
            _log.warning("%d answers of a gateway that was killed are marked as undelivered", found)
        self._next_sweep = time.monotonic() + _SWEEP_SECONDS

    async def finish(self) -> None:
        """Write what waits before a stop, once all answers that are being recorded are."""
        try:
            async with asyncio.timeout(_FINISH_SECONDS):
                # Writes keep their order.
                await self._ledger.threads.write(self._ledger.ping)
                await self.write()
        except (CreditlineError, TimeoutError) as error:
            lost = ", ".join(sorted(self._lost)) or "none that are known"
            _log.error("the ledger cannot be written (%s); answers that count undelivered: %s", error, lost)


class Delivery:
    """What becomes of the answers of one request; a face makes one and ends it.

    Args:
        marks: Marks what is not delivered; None: nobody does.
    """

    def __init__(self, marks: DeliveryMarks | None = None) -> None:
        self._marks = marks
        self._recorded: list[str] = []
        self._repeated: list[str] = []
        self._ended = False

    def part(self) -> Delivery:
        """The delivery of one answer of several that are sent one by one; it has an end of its own."""
        return Delivery(self._marks)

    def recorded(self, attribution_id: str) -> None:
        """An answer was recorded; the request may have ended meanwhile."""
        if self._ended:
            self._mark_lost([attribution_id])
        else:
            self._recorded.append(attribution_id)

    def lost(self, attribution_id: str) -> None:
        """An answer was recorded after its part of the request had failed, whatever becomes of the rest."""
        self._mark_lost([attribution_id])

    def repeats(self, attribution_id: str) -> None:
        """An answer that was recorded for an earlier request is the answer to this one too."""
        self._repeated.append(attribution_id)

    def succeeded(self) -> None:
        """All answers so far were handed to the caller's connection."""
        if self._marks is not None:
            self._marks.delivered(self._recorded)
            for attribution_id in self._repeated:
                self._marks.repeated(attribution_id)
        self._recorded.clear()
        self._repeated.clear()

    def end(self) -> None:
        """The request has ended: what was recorded for it and not delivered, and what still is, is lost."""
        self._ended = True
        self._mark_lost(self._recorded)
        self._recorded.clear()

    def _mark_lost(self, attribution_ids: list[str]) -> None:
        for attribution_id in attribution_ids:
            if self._marks is not None:
                self._marks.lost(attribution_id)


_NOBODY = Delivery()
current_delivery: ContextVar[Delivery] = ContextVar("current_delivery", default=_NOBODY)
"""Delivery of the request that is being answered; set by both faces before the use case runs."""
