"""Carries out the ledger's withdrawals in the index, and retries until that succeeds."""

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
from creditline.index.withdrawal import apply_withdrawals, check
from creditline.retries import RetryPolicy

# How often the ledger is read for withdrawals that other gateways acknowledged.
_LEDGER_INTERVAL_SECONDS = 1.0
# How often the index is checked without a new withdrawal: collections are filled and restored meanwhile.
_INDEX_INTERVAL_SECONDS = 30.0
_BACK_OFF = RetryPolicy(initial_delay_seconds=2.0, max_delay_seconds=15.0, jitter=0.5)
_NOT_CARRIED_OUT = "withdrawals have not been carried out in the index since this gateway started"
_STOPPING = "the gateway stops; another one, or the next start, carries the withdrawal out"
_log = logging.getLogger(__name__)


class WithdrawalEnforcer:
    """Carries out the ledger's withdrawals in every collection of Qdrant, as one task of the gateway.

    While Qdrant is down it retries; answers leave withdrawn works out even so. Several gateways may do the
    same work at the same time.
    """

    def __init__(
        self,
        register: WithdrawnRegister,
        index: WorkIndex,
        metrics: GatewayMetrics,
        rng: random.Random | None = None,
    ) -> None:
        """
        Args:
            register: The gateway's copy of the ledger's withdrawals.
            index: Connection to the index.
            metrics: Shows whether withdrawals wait.
            rng: Source of the back-off's jitter; None for one that differs from gateway to gateway.
        """
        self._register = register
        self._index = index
        self._metrics = metrics
        self._woken = asyncio.Event()
        self._waiting: list[asyncio.Future[None]] = []
        self._rng = rng or random.Random()
        self._failures = 0
        self._wait_seconds = _LEDGER_INTERVAL_SECONDS
        self._due = 0.0
        self._carried_out: tuple[int, int] | None = None
        # Why withdrawals are not carried out in the index; empty when they are.
        self.problem = _NOT_CARRIED_OUT

    async def carried_out(self) -> None:
        """Wait until all withdrawals that the ledger holds now are carried out.

        Raises:
            CreditlineError: They cannot be carried out (for example Unavailable), or the gateway stops.
        """
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        self._woken.set()
        await waiter

    def request_check(self) -> None:
        """Check the index at the next interval, since a search returned a withdrawn work.

        A check that is running already does not count.
        """
        self._due = 0.0

    async def run(self) -> None:
        """Carry out withdrawals until the task is cancelled; waiting callers then get an error."""
        try:
            while True:
                self._woken.clear()
                await self._round()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._wait_seconds):
                        await self._woken.wait()
        finally:
            self._fail_waiting(self._waiting, CreditlineError(_STOPPING))

    async def _round(self) -> None:
        waiting, self._waiting = self._waiting, []
        try:
            await self._catch_up(forced=bool(waiting))
        except CreditlineError as error:
            self._back_off(error, waiting)
        except Exception as error:
            _log.exception("unhandled error while carrying out withdrawals; it is retried")
            self._back_off(
                CreditlineError(f"the gateway failed ({type(error).__name__}); see its log"), waiting
            )
        except asyncio.CancelledError:
            self._fail_waiting(waiting, CreditlineError(_STOPPING))
            raise
        else:
            self.problem, self._failures, self._wait_seconds = "", 0, _LEDGER_INTERVAL_SECONDS
            for waiter in waiting:
                if not waiter.done():
                    waiter.set_result(None)

    def _back_off(self, error: CreditlineError, waiting: list[asyncio.Future[None]]) -> None:
        if not self._failures:
            _log.warning("withdrawals are not carried out in the index yet: %s", error.message)
        self.problem, self._due = error.message, 0.0
        self._wait_seconds = _BACK_OFF.delay(self._failures, self._rng)
        self._failures += 1
        self._fail_waiting(waiting, error)

    @staticmethod
    def _fail_waiting(waiting: list[asyncio.Future[None]], error: CreditlineError) -> None:
        for waiter in waiting:
            if not waiter.done():
                waiter.set_exception(error)

    async def _catch_up(self, *, forced: bool) -> None:
        """Carry out withdrawals until the ledger holds no newer ones; `forced`: even when no check is due."""
        withdrawn = await self._register.as_of_now()
        self._metrics.withdrawals_waiting.set(withdrawn.state != self._carried_out)
        if not forced and withdrawn.state == self._carried_out and time.monotonic() < self._due:
            return
        while True:
            # Set before the work, so that a `request_check` during it takes effect.
            self._due = time.monotonic() + _INDEX_INTERVAL_SECONDS
            await asyncio.to_thread(self._enforce, withdrawn)
            self._carried_out = withdrawn.state
            withdrawn = await self._register.as_of_now()
            if withdrawn.state == self._carried_out:
                break
        self._metrics.withdrawals_waiting.set(0)

    def _enforce(self, withdrawn: Withdrawn) -> None:
        """Carry out withdrawals in every collection. Blocks."""
        changed = apply_withdrawals(self._index, withdrawn, self._index.collections())
        for collection in self._index.collections():
            check(self._index, withdrawn, collection)
        if changed:
            _log.info("withdrawals changed %d works in the index", changed)
