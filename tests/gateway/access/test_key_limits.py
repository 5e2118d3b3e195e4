"""Rates and quotas of API keys: counted in a real Redis, and by the gateway itself while there is none."""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field

import pytest
import redis

from creditline.errors import QuotaExceeded, RateExceeded, ResourceExhausted
from creditline.gateway.access.caller import ANYONE, Caller
from creditline.gateway.access.counts import AWAY_SECONDS
from creditline.gateway.access.key_limits import ANSWER_SECONDS, KeyLimits
from creditline.ledger import Allowance
from tests.real_parts.redis_server import RedisServer


@dataclass
class Clock:
    """A clock that stands still until it is moved."""

    seconds: float = 1_790_000_000.0

    def __call__(self) -> float:
        return self.seconds


@dataclass
class Counted:
    """Limits of two gateways on one Redis, with a common clock."""

    url: str
    answer_seconds: float = 10.0
    clock: Clock = field(default_factory=Clock)
    local: list[bool] = field(default_factory=list)

    def run(self, use: Callable[[KeyLimits, KeyLimits], Awaitable[None]]) -> None:
        async def both() -> None:
            first, second = (
                KeyLimits(
                    self.url,
                    answer_seconds=self.answer_seconds,
                    on_local=self.local.append,
                    clock=self.clock,
                )
                for _ in range(2)
            )
            try:
                await use(first, second)
            finally:
                await first.close()
                await second.close()

        asyncio.run(both())


@pytest.fixture
def counted(start_redis: Callable[..., RedisServer]) -> Counted:
    return Counted(start_redis().url)


@pytest.fixture
def hanging() -> Iterator[str]:
    """URL of a server that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"redis://127.0.0.1:{server.getsockname()[1]}/0"


def _caller(*, rate: str | None = None, quota: str | None = None, name: str = "a" * 16) -> Caller:
    read = (Allowance.parse(text) if text else None for text in (rate, quota))
    return Caller(name, "museum", frozenset(), *read)


async def _accepted(limits: KeyLimits, caller: Caller, times: int, *, attributions: int = 1) -> int:
    """How many of some requests are allowed."""
    allowed = 0
    for _ in range(times):
        try:
            await limits.charge(caller, attributions=attributions)
        except ResourceExhausted:
            continue
        allowed += 1
    return allowed


def test_gateways_share_one_count_and_state_when_to_come_again(counted: Counted) -> None:
    async def use(first: KeyLimits, second: KeyLimits) -> None:
        caller = _caller(rate="10/s")
        assert await _accepted(first, caller, 6) + await _accepted(second, caller, 6) == 10
        with pytest.raises(RateExceeded, match="the rate 10/s of this API key") as refused:
            await first.charge(caller, attributions=1)
        assert refused.value.retry_after_seconds == pytest.approx(0.1, abs=0.002)
        counted.clock.seconds += 0.101
        assert await _accepted(second, caller, 2) == 1
        assert await _accepted(first, _caller(rate="10/s", name="b" * 16), 12) == 10

    counted.run(use)
    assert counted.local == []


def test_there_is_no_edge_at_which_twice_the_amount_passes_at_once(counted: Counted) -> None:
    async def use(limits: KeyLimits, _: KeyLimits) -> None:
        caller = _caller(rate="100/10s")
        counted.clock.seconds = 1_790_000_009.9
        assert await _accepted(limits, caller, 120) == 100
        # A window that begins at a whole time would start anew here.
        counted.clock.seconds = 1_790_000_010.1
        assert await _accepted(limits, caller, 120) == 2

    counted.run(use)


def test_in_the_time_of_an_allowance_less_than_twice_its_amount_passes(counted: Counted) -> None:
    async def use(limits: KeyLimits, _: KeyLimits) -> None:
        caller, passed = _caller(quota="50/h"), 0
        for _ in range(60):
            passed += await _accepted(limits, caller, 51)
            counted.clock.seconds += 59.9
        assert 90 <= passed < 100

    counted.run(use)


def test_what_costs_more_than_is_left_is_refused_and_costs_nothing(counted: Counted) -> None:
    async def use(limits: KeyLimits, _: KeyLimits) -> None:
        caller = _caller(quota="40/h")
        assert await _accepted(limits, caller, 1, attributions=32) == 1
        for _ in range(5):
            with pytest.raises(QuotaExceeded, match="the quota 40/h") as refused:
                await limits.charge(caller, attributions=32)
        # 24 of 40 must be regained, one in 90 seconds.
        assert refused.value.retry_after_seconds == pytest.approx(24 * 90, rel=0.01)
        assert await _accepted(limits, caller, 10) == 8

    counted.run(use)


def test_what_the_quota_refuses_does_not_count_against_the_rate(counted: Counted) -> None:
    async def use(limits: KeyLimits, _: KeyLimits) -> None:
        caller = _caller(rate="10/s", quota="4/h")
        assert await _accepted(limits, caller, 8) == 4
        with pytest.raises(QuotaExceeded):
            await limits.charge(caller, attributions=1)
        counted.clock.seconds += 900
        assert await _accepted(limits, caller, 10) == 1
        # Ten a second were there; one was used.
        with pytest.raises(QuotaExceeded):
            await limits.charge(caller, attributions=9)

    counted.run(use)


def test_more_than_is_ever_allowed_at_once_is_refused_without_a_time(counted: Counted) -> None:
    async def use(limits: KeyLimits, _: KeyLimits) -> None:
        with pytest.raises(
            RateExceeded, match="more than the rate 10/s of this API key ever allows"
        ) as refused:
            await limits.charge(_caller(rate="10/s"), attributions=32)
        assert refused.value.retry_after_seconds is None

    counted.run(use)


def test_other_requests_have_a_rate_of_their_own_and_no_quota(counted: Counted) -> None:
    async def use(limits: KeyLimits, _: KeyLimits) -> None:
        caller = _caller(rate="5/s", quota="2/h")
        assert await _accepted(limits, caller, 8) == 2
        assert await _accepted(limits, caller, 8, attributions=0) == 5

    counted.run(use)


def test_a_changed_limit_starts_anew(counted: Counted) -> None:
    async def use(limits: KeyLimits, _: KeyLimits) -> None:
        assert await _accepted(limits, _caller(quota="3/d"), 5) == 3
        # A bucket of the quota alone must not be read as that of the rate.
        assert await _accepted(limits, _caller(rate="4/s", quota="5/d"), 8) == 4

    counted.run(use)


def test_callers_without_limits_cost_no_call(hanging: str) -> None:
    async def use(limits: KeyLimits, _: KeyLimits) -> None:
        started = time.monotonic()
        assert await _accepted(limits, ANYONE, 100) == 100
        assert await _accepted(limits, _caller(quota="1/h"), 100, attributions=0) == 100
        assert time.monotonic() - started < ANSWER_SECONDS

    counted = Counted(hanging)
    counted.run(use)
    assert counted.local == []


@pytest.mark.parametrize("where", ["nobody", "hanging"])
def test_without_redis_each_gateway_counts_for_itself_and_says_so(
    where: str, hanging: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def use(first: KeyLimits, second: KeyLimits) -> None:
        caller = _caller(rate="10/m", quota="1000/d")
        started = time.monotonic()
        assert await _accepted(first, caller, 15) == 10
        # One request waited for Redis; the others did not.
        assert time.monotonic() - started < 10 * ANSWER_SECONDS
        assert await _accepted(second, caller, 15) == 10

    counted = Counted(hanging if where == "hanging" else "redis://127.0.0.1:9/0", ANSWER_SECONDS)
    with caplog.at_level(logging.WARNING):
        counted.run(use)
    assert counted.local == [True, True]
    assert [
        message.startswith("Redis does not answer, so each gateway counts") for message in caplog.messages
    ] == [True, True]


def test_a_redis_that_comes_back_is_used_again(start_redis: Callable[..., RedisServer]) -> None:
    server = start_redis()
    counted = Counted(server.url)

    async def use(first: KeyLimits, _: KeyLimits) -> None:
        caller = _caller(rate="4/m")
        assert await _accepted(first, caller, 1) == 1
        server.kill()
        assert await _accepted(first, caller, 6) == 4
        await asyncio.to_thread(server.start)
        await asyncio.sleep(AWAY_SECONDS)
        assert await _accepted(first, caller, 6) == 4

    counted.run(use)
    assert counted.local == [True, False]


def test_a_request_costs_one_call_and_less_than_a_millisecond(counted: Counted) -> None:
    seconds: list[float] = []

    async def use(limits: KeyLimits, _: KeyLimits) -> None:
        caller = _caller(rate="100000/s", quota="1000000/d")
        # The first call sends the script too.
        await limits.charge(caller, attributions=1)
        with redis.Redis.from_url(counted.url) as client:
            client.config_resetstat()
        for _ in range(200):
            started = time.perf_counter()
            await limits.charge(caller, attributions=1)
            seconds.append(time.perf_counter() - started)

    counted.run(use)
    with redis.Redis.from_url(counted.url) as client:
        calls = {name: values["calls"] for name, values in client.info("commandstats").items()}
    assert calls["cmdstat_evalsha"] == 200
    assert "cmdstat_eval" not in calls
    # Of the quicker ones: the machine may be busy with other things than this.
    assert sorted(seconds)[50] < 0.001
