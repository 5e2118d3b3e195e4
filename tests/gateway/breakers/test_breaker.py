"""A breaker: when it opens, who may try again, and what does not count."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from creditline.errors import DeadlineExceeded, InvalidInput, Unavailable
from creditline.gateway.breakers.breaker import Breaker, BreakerPlan, State
from creditline.gateway.breakers.metrics import BreakerMetrics
from creditline.retries import RetryPolicy

_OPEN_SECONDS = 0.1


_PLAN = BreakerPlan(
    open_times=RetryPolicy(_OPEN_SECONDS, max_delay_seconds=0.2), patience_seconds=0.05, trial_seconds=0.1
)


def _breaker(registry: CollectorRegistry | None = None) -> Breaker:
    return Breaker("qdrant", BreakerMetrics(registry or CollectorRegistry()), _PLAN)


async def _call(breaker: Breaker, *, error: Exception | None = None, seconds: float = 0.0) -> str:
    try:
        async with breaker.call():
            await asyncio.sleep(seconds)
            if error is not None:
                raise error
    except (Unavailable, InvalidInput, DeadlineExceeded) as raised:
        return type(raised).__name__ if raised is error else "refused"
    return "answered"


def _run(main: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(main, 20))


def _down() -> Unavailable:
    return Unavailable("down", service="qdrant")


async def _opened(registry: CollectorRegistry | None = None) -> Breaker:
    breaker = _breaker(registry)
    for _ in range(5):
        assert await _call(breaker, error=_down()) == "Unavailable"
    assert breaker.state is State.OPEN
    return breaker


def test_five_failures_in_a_row_open_it_and_a_success_between_them_does_not() -> None:
    async def main() -> None:
        registry = CollectorRegistry()
        breaker = _breaker(registry)
        for _ in range(20):
            for _ in range(4):
                await _call(breaker, error=_down())
            assert await _call(breaker) == "answered"
        breaker = await _opened(registry := CollectorRegistry())
        with pytest.raises(Unavailable, match=r"down \(5 failures in a row") as refused:
            breaker.check()
        assert refused.value.service == "qdrant"
        assert refused.value.retry_after_seconds is not None
        labels = {"service": "qdrant"}
        assert registry.get_sample_value("creditline_gateway_breaker_state", labels) == 2
        assert registry.get_sample_value("creditline_gateway_breaker_refusals_total", labels) == 1

    _run(main())


def test_one_call_tries_again_while_the_others_are_refused_and_its_success_closes() -> None:
    async def main() -> None:
        breaker = await _opened()
        await asyncio.sleep(_OPEN_SECONDS)
        assert breaker.state is State.HALF_OPEN
        trial = asyncio.create_task(_call(breaker, seconds=0.03))
        await asyncio.sleep(0)
        assert [await _call(breaker) for _ in range(10)] == ["refused"] * 10
        assert await trial == "answered"
        assert breaker.state is State.CLOSED
        assert await _call(breaker) == "answered"

    _run(main())


def test_a_trial_that_fails_or_hangs_opens_it_again_for_longer() -> None:
    async def main() -> None:
        breaker = await _opened()
        await asyncio.sleep(_OPEN_SECONDS)
        assert await _call(breaker, seconds=5.0) == "refused"
        assert breaker.state is State.OPEN
        await asyncio.sleep(_OPEN_SECONDS * 1.2)
        assert breaker.state is State.OPEN

    _run(main())


def test_errors_of_the_caller_prove_that_the_service_works() -> None:
    async def main() -> None:
        breaker = await _opened()
        await asyncio.sleep(_OPEN_SECONDS)
        assert await _call(breaker, error=InvalidInput("wrong")) == "InvalidInput"
        assert breaker.state is State.CLOSED

    _run(main())


def test_short_deadlines_and_callers_who_leave_at_once_say_nothing_but_long_silence_does() -> None:
    async def main() -> None:
        breaker = _breaker()
        for _ in range(20):
            await _call(breaker, error=DeadlineExceeded("1 ms"))
            leaving = asyncio.create_task(_call(breaker, seconds=5.0))
            await asyncio.sleep(0)
            leaving.cancel()
            await asyncio.gather(leaving, return_exceptions=True)
        assert breaker.state is State.CLOSED
        silent = [asyncio.create_task(_call(breaker, seconds=5.0)) for _ in range(5)]
        await asyncio.sleep(0.1)
        for task in silent:
            task.cancel()
        await asyncio.gather(*silent, return_exceptions=True)
        assert breaker.state is State.OPEN

    _run(main())


def test_a_trial_whose_caller_leaves_lets_the_next_call_try() -> None:
    async def main() -> None:
        breaker = await _opened()
        await asyncio.sleep(_OPEN_SECONDS)
        trial = asyncio.create_task(_call(breaker, seconds=5.0))
        await asyncio.sleep(0)
        trial.cancel()
        await asyncio.gather(trial, return_exceptions=True)
        assert await _call(breaker) == "answered"

    _run(main())
