"""Carries withdrawals from the ledger into the index until they have arrived."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time

from creditline.corpus.withdrawn import Withdrawn
from creditline.errors import CreditlineError
from creditline.gateway.metrics import GatewayMetrics
from creditline.gateway.withdrawals.register import WithdrawnRegister
from creditline.index import WorkIndex
from creditline.index.withdrawal import carry_out, check
from creditline.retries import RetryPolicy

# How often the ledger is asked for what other gateways were told.
_TICK_SECONDS = 1.0
# How often the index is looked through although nothing new was wished: collections are filled and restored.
_AGAIN_SECONDS = 30.0
_BACK_OFF = RetryPolicy(initial_delay_seconds=2.0, max_delay_seconds=15.0, jitter=0.5)
_NOT_YET = "withdrawals have not been carried out in the index since this gateway started"
_log = logging.getLogger(__name__)


class WithdrawalEnforcer:
    """Runs as one task of the gateway: what the ledger says is carried out in every collection of Qdrant.

    While Qdrant is down it tries again; the gateway itself leaves withdrawn works out all the same. Several
    gateways may do the same thing at once.
    """

    def __init__(
        self,
        register: WithdrawnRegister,
        index: WorkIndex,
        metrics: GatewayMetrics,
        rng: random.Random | None = None,
    ) -> None:
        """`rng`: source of the back-off's jitter; None for one that differs from gateway to gateway."""
        self._register = register
        self._index = index
        self._metrics = metrics
        self._woken = asyncio.Event()
        self._waiting: list[asyncio.Future[None]] = []
        self._rng = rng or random.Random()
        self._failures = 0
        self._wait_seconds = _TICK_SECONDS
        self._due = 0.0
        self._carried_out = -1
        self.problem = _NOT_YET

    async def carried_out(self) -> None:
        """Wait until all that the ledger holds now is carried out. Raises what stands in the way."""
        arrival: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(arrival)
        self._woken.set()
        await arrival

    def look_again(self) -> None:
        """Look through the index with the next tick: it showed a withdrawn work."""
        self._due = 0.0

    async def run(self) -> None:
        """Carry out until cancelled."""
        while True:
            self._woken.clear()
            await self._round()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._wait_seconds):
                    await self._woken.wait()

    async def _round(self) -> None:
        waiting, self._waiting = self._waiting, []
        try:
            await self._catch_up(wanted=bool(waiting))
        except CreditlineError as error:
            self._failed(error, waiting)
        except Exception as error:
            _log.exception("carrying withdrawals out failed; it is tried again")
            self._failed(
                CreditlineError(f"the gateway failed ({type(error).__name__}); see its log"), waiting
            )
        else:
            self.problem, self._failures, self._wait_seconds = "", 0, _TICK_SECONDS
            for arrival in waiting:
                if not arrival.done():
                    arrival.set_result(None)

    def _failed(self, error: CreditlineError, waiting: list[asyncio.Future[None]]) -> None:
        if not self._failures:
            _log.warning("withdrawals wait to be carried out in the index: %s", error.message)
        self.problem, self._due = error.message, 0.0
        self._wait_seconds = _BACK_OFF.delay(self._failures, self._rng)
        self._failures += 1
        for arrival in waiting:
            if not arrival.done():
                arrival.set_exception(error)

    async def _catch_up(self, *, wanted: bool) -> None:
        """Until the ledger says nothing newer than what was carried out."""
        withdrawn = await self._register.as_of_now()
        self._metrics.withdrawals_waiting.set(withdrawn.sequence != self._carried_out)
        if not wanted and withdrawn.sequence == self._carried_out and time.monotonic() < self._due:
            return
        while True:
            await asyncio.to_thread(self._enforce, withdrawn)
            self._carried_out, self._due = withdrawn.sequence, time.monotonic() + _AGAIN_SECONDS
            withdrawn = await self._register.as_of_now()
            if withdrawn.sequence == self._carried_out:
                break
        self._metrics.withdrawals_waiting.set(0)

    def _enforce(self, withdrawn: Withdrawn) -> None:
        """In every collection. Blocks."""
        changed = carry_out(self._index, withdrawn, self._index.collections())
        for collection in self._index.collections():
            check(self._index, withdrawn, collection)
        if changed:
            _log.info("withdrawals changed %d works in the index", changed)
