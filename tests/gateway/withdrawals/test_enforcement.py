"""The task that carries withdrawals out: requests that come while it works or stops are not forgotten."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from creditline.errors import CreditlineError
from creditline.gateway.metrics import GatewayMetrics
from creditline.gateway.withdrawals.enforcement import WithdrawalEnforcer
from creditline.gateway.withdrawals.register import WithdrawnRegister
from creditline.index import WorkIndex
from creditline.ledger import Ledger
from tests.gateway.stepped_threads import SteppedThreads
from tests.local.qdrant_process import local_qdrant

_LIMIT_SECONDS = 10.0


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger.open(f"sqlite:///{tmp_path}/ledger.db") as opened:
        yield opened


def test_who_waits_while_the_gateway_stops_gets_an_answer(ledger: Ledger) -> None:
    threads = SteppedThreads()

    async def stop_while_two_wait() -> None:
        asyncio.get_running_loop().set_default_executor(threads)
        # The index is never asked: the gateway stops before.
        with WorkIndex.connect(grpc_port=9) as index:
            enforcer = WithdrawalEnforcer(WithdrawnRegister(ledger), index, GatewayMetrics())
            waiting = [asyncio.ensure_future(enforcer.carried_out())]
            await asyncio.sleep(0)
            running = asyncio.create_task(enforcer.run())
            ends = time.monotonic() + _LIMIT_SECONDS
            while not (threads.waiting and _is_check(threads, enforcer)):
                assert time.monotonic() < ends, "the index is not checked"
                await asyncio.sleep(0)
                if threads.waiting and not _is_check(threads, enforcer):
                    threads.run_oldest()
            # One waits for the check that runs, one for the next.
            waiting.append(asyncio.ensure_future(enforcer.carried_out()))
            await asyncio.sleep(0)
            running.cancel()
            async with asyncio.timeout(_LIMIT_SECONDS):
                for each in waiting:
                    with pytest.raises(CreditlineError, match="the gateway stops"):
                        await each

    asyncio.run(stop_while_two_wait())


def test_a_check_that_is_requested_while_one_runs_is_made(ledger: Ledger, tmp_path: Path) -> None:
    threads = SteppedThreads()

    async def request_checks_during_a_check(index: WorkIndex) -> int:
        asyncio.get_running_loop().set_default_executor(threads)
        enforcer = WithdrawalEnforcer(WithdrawnRegister(ledger), index, GatewayMetrics())
        running = asyncio.create_task(enforcer.run())
        ends, checks = time.monotonic() + _LIMIT_SECONDS, 0
        try:
            while checks < 2 and time.monotonic() < ends:
                await asyncio.sleep(0.01)
                if not threads.waiting:
                    continue
                if _is_check(threads, enforcer):
                    checks += 1
                    if checks == 1:
                        # Something showed a withdrawn work just now, in a collection that is checked already.
                        enforcer.request_check()
                threads.run_oldest()
        finally:
            running.cancel()
        return checks

    with local_qdrant(tmp_path / "qdrant") as qdrant, WorkIndex.connect(grpc_port=qdrant.port) as index:
        assert asyncio.run(request_checks_during_a_check(index)) == 2


def _is_check(threads: SteppedThreads, enforcer: WithdrawalEnforcer) -> bool:
    """Whether the call that waits is one of the index, and not of the ledger."""
    call = threads.waiting[0][1]
    return any(getattr(part, "__self__", None) is enforcer for part in _parts_of(call))


def _parts_of(call: object) -> list[object]:
    """What a partial call holds; `asyncio.to_thread` wraps the function itself twice."""
    parts, found = [call], []
    while parts:
        part = parts.pop()
        found.append(part)
        parts += [getattr(part, "func", None), *getattr(part, "args", ())] if hasattr(part, "func") else []
    return found
