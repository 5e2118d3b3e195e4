"""Refusals of callers who come again before they were told to."""

from __future__ import annotations

import asyncio

import pytest
from prometheus_client import CollectorRegistry

from creditline.errors import ResourceExhausted
from creditline.gateway.admission.admission import Admission, AdmissionPlan
from creditline.gateway.admission.impatience import Impatience
from creditline.gateway.admission.metrics import AdmissionMetrics
from tests.gateway.virtual_time import run

_RETRY_SECONDS = 5.0


async def _refused(impatience: Impatience, caller: str, *, left: float = 10.0, ago: float = 0.0) -> float:
    """Seconds that a refusal takes; the request came `ago` seconds before it."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    await impatience.refused(caller, arrived=began - ago, left=left, retry_after=_RETRY_SECONDS)
    return loop.time() - began


def test_the_first_refusal_comes_at_once_and_the_next_one_later() -> None:
    async def main() -> None:
        impatience = Impatience()
        assert await _refused(impatience, "one") == 0.0
        await asyncio.sleep(0.01)
        assert await _refused(impatience, "one") == pytest.approx(1.0)
        assert await _refused(impatience, "another") == 0.0

    run(main())


def test_requests_that_were_on_their_way_already_are_refused_at_once() -> None:
    async def main() -> None:
        impatience = Impatience()
        await _refused(impatience, "one")
        assert await _refused(impatience, "one", ago=1.0) == 0.0

    run(main())


def test_a_refusal_is_in_time() -> None:
    async def main() -> None:
        impatience = Impatience()
        await _refused(impatience, "one")
        await asyncio.sleep(0.01)
        assert await _refused(impatience, "one", left=0.4) == pytest.approx(0.2)

    run(main())


def test_no_more_than_64_refusals_wait() -> None:
    async def main() -> None:
        impatience = Impatience()
        await _refused(impatience, "one")
        await asyncio.sleep(0.01)
        took = await asyncio.gather(*(_refused(impatience, "one") for _ in range(100)))
        assert sum(seconds > 0.5 for seconds in took) == 64

    run(main())


def test_a_caller_who_does_not_wait_as_told_by_the_gate_learns_it_later() -> None:
    async def main() -> None:
        plan = AdmissionPlan(answers_at_once=4, queue_mib=0, most_seconds=10.0)
        admission = Admission(plan, AdmissionMetrics(CollectorRegistry()))

        async def ask() -> None:
            async with admission.turn("one", admission.deadline(None), size_bytes=1, large=True):
                await asyncio.sleep(600)

        # Three of four turns: a caller alone gets no more, and nothing may wait.
        holders = [asyncio.create_task(ask()) for _ in range(3)]
        await asyncio.sleep(0)
        took = []
        for _ in range(2):
            began = asyncio.get_running_loop().time()
            with pytest.raises(ResourceExhausted):
                await ask()
            took.append(asyncio.get_running_loop().time() - began)
            await asyncio.sleep(0.01)
        assert took == [0.0, pytest.approx(1.0)]
        for holder in holders:
            holder.cancel()

    run(main())
