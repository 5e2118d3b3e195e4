"""The gate: who gets a turn, who waits, and who is refused at once."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections import Counter

import pytest
from prometheus_client import CollectorRegistry

from creditline.errors import CreditlineError, ResourceExhausted, Unavailable
from creditline.gateway.admission.gate import Gate, GatePlan
from creditline.gateway.admission.metrics import AdmissionMetrics
from tests.gateway.virtual_time import run

_SERVICE_SECONDS = 0.02
_TURNS = 8
# One caller gets three quarters of the turns.
_RATE = 6 / _SERVICE_SECONDS


class _Site:
    """A gate in front of work that takes a fixed time."""

    def __init__(self, *, turns: int = _TURNS, waiting: int = 1_000, size_bytes: int = 1 << 20) -> None:
        self.registry = CollectorRegistry()
        self.gate = Gate(GatePlan("ordinary", turns, waiting, size_bytes), AdmissionMetrics(self.registry))
        self.loop = asyncio.get_running_loop()
        self.most_at_once, self.at_once, self.late = 0, 0, 0

    async def ask(
        self, caller: str = "one", *, seconds: float = 60.0, work: float = _SERVICE_SECONDS, size: int = 1
    ) -> str:
        """One request; what became of it."""
        expires = self.loop.time() + seconds
        try:
            async with self.gate.turn(caller, expires, size):
                self.at_once += 1
                self.most_at_once = max(self.most_at_once, self.at_once)
                try:
                    await asyncio.sleep(work)
                finally:
                    self.at_once -= 1
        except CreditlineError as error:
            return type(error).__name__
        self.late += self.loop.time() > expires
        return "answered"

    def sample(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(f"creditline_gateway_admission_{name}", labels)


def test_of_many_at_once_as_many_are_answered_as_fit_into_the_deadline_and_none_is_late() -> None:
    async def main() -> None:
        site, seconds = _Site(), 1.5
        began, before = site.loop.time(), 200
        await asyncio.gather(*(site.ask() for _ in range(before)))
        possible = before / (site.loop.time() - began) * seconds
        outcomes = Counter(await asyncio.gather(*(site.ask(seconds=seconds) for _ in range(1_000))))
        assert site.late == 0
        assert set(outcomes) == {"answered", "ResourceExhausted"}
        assert outcomes["answered"] >= 0.9 * possible
        assert site.most_at_once == 6

    run(main())


def test_once_the_rate_is_known_what_would_be_late_is_refused_at_once_with_the_time_to_wait() -> None:
    async def main() -> None:
        site = _Site()
        backlog = [asyncio.create_task(site.ask()) for _ in range(500)]
        await asyncio.sleep(0.5)
        began = asyncio.get_running_loop().time()
        with pytest.raises(ResourceExhausted, match="would not be answered before its deadline") as refused:
            async with site.gate.turn("one", site.loop.time() + 0.5, 1):
                pass
        assert asyncio.get_running_loop().time() - began < 0.05
        assert 1.0 <= (refused.value.retry_after_seconds or 0.0) < 5.0
        with pytest.raises(ResourceExhausted):
            site.gate.check("one", site.loop.time() + 0.5)
        site.gate.check("one", site.loop.time() + 60.0)
        assert site.sample("refusals_total", gate="ordinary", reason="deadline") == 2
        assert site.sample("answers_per_second", gate="ordinary") == pytest.approx(_RATE, rel=0.4)
        assert (site.sample("expected_wait_seconds", gate="ordinary") or 0.0) > 0.5
        for task in backlog:
            task.cancel()

    run(main())


def test_another_callers_request_finds_a_free_turn_whatever_one_has_asked() -> None:
    async def main() -> None:
        site = _Site()
        greedy = [asyncio.create_task(site.ask("greedy", work=5.0)) for _ in range(50)]
        await asyncio.sleep(0)
        began = asyncio.get_running_loop().time()
        assert await site.ask("other", seconds=1.0) == "answered"
        assert asyncio.get_running_loop().time() - began < 0.5
        for task in greedy:
            task.cancel()

    run(main())


def test_callers_who_wait_take_turns() -> None:
    async def main() -> None:
        site, order = _Site(turns=4), []

        async def ask(caller: str) -> None:
            await site.ask(caller)
            order.append(caller)

        tasks = [asyncio.create_task(ask("first")) for _ in range(30)]
        await asyncio.sleep(0)
        tasks += [asyncio.create_task(ask("second")) for _ in range(10)]
        await asyncio.gather(*tasks)
        # The second caller's ten are done while the first one's thirty are not half done.
        assert order[:25].count("second") == 10

    run(main())


def test_a_caller_that_leaves_gives_its_place_and_its_turn_back() -> None:
    async def main() -> None:
        site = _Site(turns=4)
        holding = [asyncio.create_task(site.ask(work=30.0)) for _ in range(3)]
        waiting = [asyncio.create_task(site.ask()) for _ in range(3)]
        await asyncio.sleep(0.01)
        assert site.sample("in_flight", gate="ordinary") == 3
        assert site.sample("waiting", gate="ordinary") == 3
        waiting[0].cancel()
        holding[0].cancel()
        # Its turn has come, and it leaves before it knows.
        await asyncio.sleep(0)
        waiting[1].cancel()
        assert await asyncio.wait_for(waiting[2], 5) == "answered"
        for task in holding:
            task.cancel()
        await asyncio.gather(*holding, *waiting, return_exceptions=True)
        assert site.sample("in_flight", gate="ordinary") == 0
        assert site.sample("waiting", gate="ordinary") == 0

    run(main())


def test_memory_of_waiting_requests_is_bounded_and_the_largest_holder_gives_way() -> None:
    async def main() -> None:
        site = _Site(turns=4, size_bytes=10)
        holding = [asyncio.create_task(site.ask("one", work=30.0)) for _ in range(3)]
        holding += [asyncio.create_task(site.ask("two", work=30.0))]
        await asyncio.sleep(0)
        large = [asyncio.create_task(site.ask("one", size=5)) for _ in range(2)]
        await asyncio.sleep(0)
        assert await site.ask("one", size=1) == "ResourceExhausted"
        small = asyncio.create_task(site.ask("two", size=1))
        assert await asyncio.wait_for(large[1], 5) == "ResourceExhausted"
        assert site.sample("refusals_total", gate="ordinary", reason="memory") == 2
        for task in (*holding, *large, small):
            task.cancel()

    run(main())


def test_a_gate_that_closes_refuses_all_that_wait_and_come_and_lets_the_others_finish() -> None:
    async def main() -> None:
        site = _Site(turns=4)
        tasks = [asyncio.create_task(site.ask(work=0.1)) for _ in range(10)]
        await asyncio.sleep(0.01)
        site.gate.close()
        assert Counter(await asyncio.gather(*tasks)) == {"answered": 3, "Unavailable": 7}
        with pytest.raises(Unavailable, match="stopping"):
            site.gate.check("one", site.loop.time() + 10)

    run(main())


class _Picture:
    """What a request holds."""


def test_what_is_refused_while_it_waits_frees_its_picture_without_a_garbage_collection() -> None:
    async def main() -> None:
        site, pictures = _Site(turns=1), list[weakref.ref[_Picture]]()

        async def request() -> None:
            picture = _Picture()
            pictures.append(weakref.ref(picture))
            async with site.gate.turn("two", site.loop.time() + 60.0, 1):
                pass

        async def outcome() -> str:
            try:
                await request()
            except Unavailable as refusal:
                return refusal.message
            return "answered"

        answering = [asyncio.create_task(site.ask(work=10.0)) for _ in range(_TURNS)]
        await asyncio.sleep(0.01)
        waiting = asyncio.create_task(outcome())
        await asyncio.sleep(0.01)
        assert [picture() is None for picture in pictures] == [False]
        gc.disable()
        try:
            site.gate.close()
            assert "stop" in await waiting
            assert [picture() is None for picture in pictures] == [True]
        finally:
            gc.enable()
        await asyncio.gather(*answering)

    run(main())
