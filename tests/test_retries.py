"""The retry policy: delays, limits, jitter, and which errors end it."""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections.abc import Callable
from typing import Any

import pytest

from creditline.errors import CreditlineError, InvalidInput, Unavailable
from creditline.retries import RetryPolicy, any_of

_QUICK = RetryPolicy(initial_delay_seconds=0.001, max_delay_seconds=0.001)
_is_transient = any_of(Unavailable)


class _Service:
    """Fails `failures` times with `error`, then returns the number of the call."""

    def __init__(self, failures: int, error: Exception) -> None:
        self.failures, self.error, self.calls = failures, error, 0

    def __call__(self) -> int:
        self.calls += 1
        if self.calls <= self.failures:
            raise self.error
        return self.calls

    async def answer(self) -> int:
        return self()


def _call(policy: RetryPolicy, service: _Service) -> int:
    return policy.call(service, transient=_is_transient)


def _call_async(policy: RetryPolicy, service: _Service) -> int:
    return asyncio.run(policy.call_async(service.answer, transient=_is_transient))


_FORMS: list[Callable[[RetryPolicy, _Service], int]] = [_call, _call_async]
_DOWN = Unavailable("down", service="qdrant")


def test_delays_grow_by_the_factor_up_to_the_cap() -> None:
    policy = RetryPolicy(initial_delay_seconds=0.5, factor=3.0, max_delay_seconds=10.0)
    assert [policy.delay(retry) for retry in range(5)] == [0.5, 1.5, 4.5, 10.0, 10.0]
    assert policy.delay(100_000) == 10.0


def test_jitter_spreads_delays_over_its_part_and_comes_from_the_given_generator() -> None:
    policy = RetryPolicy(initial_delay_seconds=8.0, factor=1.0, max_delay_seconds=8.0, jitter=0.25)
    rng = random.Random(5)
    delays = [policy.delay(0, rng) for _ in range(1_000)]
    assert 6.0 <= min(delays) < 6.05
    assert 7.95 < max(delays) <= 8.0
    again = random.Random(5)
    assert [policy.delay(0, again) for _ in range(1_000)] == delays


@pytest.mark.parametrize("call", _FORMS)
def test_transient_errors_are_retried_until_the_call_succeeds(call: Any) -> None:
    assert call(_QUICK, _Service(3, _DOWN)) == 4


@pytest.mark.parametrize("call", _FORMS)
def test_the_last_transient_error_is_raised_when_the_attempts_are_used_up(call: Any) -> None:
    service = _Service(9, _DOWN)
    with pytest.raises(Unavailable, match="down"):
        call(RetryPolicy(0.001, max_attempts=3), service)
    assert service.calls == 3


@pytest.mark.parametrize("call", _FORMS)
def test_another_error_is_raised_at_once(call: Any) -> None:
    service = _Service(9, InvalidInput("bad"))
    with pytest.raises(InvalidInput, match="bad"):
        call(_QUICK, service)
    assert service.calls == 1


@pytest.mark.parametrize("call", _FORMS)
def test_no_retry_starts_after_the_time_limit(call: Any) -> None:
    policy = RetryPolicy(0.02, factor=1.0, max_delay_seconds=0.02, max_seconds=0.1)
    service, started = _Service(99, _DOWN), time.monotonic()
    with pytest.raises(Unavailable):
        call(policy, service)
    # Each retry is 0.02 s or more after the one before, and none is later than 0.1 s.
    assert 2 <= service.calls <= 6
    assert time.monotonic() - started < 5.0


def test_polling_repeats_at_a_constant_interval_until_its_time_is_over() -> None:
    started = time.monotonic()
    times = [time.monotonic() - started for _ in RetryPolicy.polling(0.02, for_seconds=0.1).attempts()]
    assert 2 <= len(times) <= 6
    assert times[0] < 0.02
    assert all(later - earlier >= 0.02 for earlier, later in itertools.pairwise(times))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("initial_delay_seconds", -1.0),
        ("factor", 0.5),
        ("max_delay_seconds", -0.1),
        ("jitter", 1.5),
        ("max_attempts", 0),
        ("max_seconds", -1.0),
    ],
)
def test_a_value_out_of_range_is_refused_by_name(field: str, value: float) -> None:
    with pytest.raises(InvalidInput, match=f"{field} of a retry policy is {value}") as refused:
        RetryPolicy(**{field: value})  # type: ignore[arg-type]
    assert refused.value.field == field


def test_jitter_without_a_generator_is_refused() -> None:
    with pytest.raises(CreditlineError, match="needs a random generator"):
        RetryPolicy(jitter=0.5).delay(0)
