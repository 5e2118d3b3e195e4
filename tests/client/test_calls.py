"""How both clients send calls: deadlines, retries, hedging, and pages of lists."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Callable, Iterable
from typing import Any

import grpc
import pytest

from creditline.client import NO_RETRIES, AsyncCreditlineClient, CallOptions, CreditlineClient
from creditline.errors import (
    CreditlineError,
    DeadlineExceeded,
    InvalidInput,
    NotFound,
    ResourceExhausted,
    Unavailable,
)
from creditline.retries import RetryPolicy
from tests.client.scripted_gateway import RELEASE, Step, scripted_gateway

Ask = Callable[..., str]
_QUICK = RetryPolicy(0.01, max_delay_seconds=0.02, max_attempts=4)
_DOWN = Step(grpc.StatusCode.UNAVAILABLE)


def _blocking(target: str, **options: Any) -> str:
    """Name of the live release, by the blocking client."""
    with CreditlineClient(target, **options) as client:
        return client.release().release.name


def _concurrent(target: str, **options: Any) -> str:
    """Name of the live release, by the client for asyncio."""

    async def ask() -> str:
        async with AsyncCreditlineClient(target, **options) as client:
            return (await client.release()).release.name

    return asyncio.run(ask())


both = pytest.mark.parametrize("ask", [_blocking, _concurrent], ids=["blocking", "concurrent"])


@both
def test_a_call_is_repeated_while_the_gateway_does_not_answer(ask: Ask) -> None:
    with scripted_gateway(_DOWN, Step(grpc.StatusCode.CANCELLED), _DOWN) as (target, script):
        assert ask(target, retries=_QUICK) == RELEASE
    assert len(script.times) == 4


@both
def test_the_last_failure_is_raised_when_no_attempt_is_left(ask: Ask) -> None:
    with (
        scripted_gateway(*[_DOWN] * 9) as (target, script),
        pytest.raises(Unavailable, match="does not answer"),
    ):
        ask(target, retries=_QUICK)
    assert len(script.times) == 4


@both
def test_a_retry_waits_as_long_as_the_gateway_states(ask: Ask) -> None:
    busy = Step(grpc.StatusCode.RESOURCE_EXHAUSTED, ResourceExhausted("busy"), retry_after_seconds=0.4)
    with scripted_gateway(busy) as (target, script):
        assert ask(target, retries=_QUICK) == RELEASE
    first, second = script.times
    assert 0.4 <= second - first < 3.0


@both
def test_a_retry_that_would_come_after_the_deadline_is_not_waited_for(ask: Ask) -> None:
    busy = Step(grpc.StatusCode.RESOURCE_EXHAUSTED, ResourceExhausted("busy"), retry_after_seconds=3600.0)
    started = time.monotonic()
    with scripted_gateway(busy) as (target, script), pytest.raises(ResourceExhausted) as refused:
        ask(target, timeout_seconds=60.0)
    assert time.monotonic() - started < 30.0
    assert refused.value.retry_after_seconds == 3600.0
    assert len(script.times) == 1


@both
@pytest.mark.parametrize(
    ("step", "kind"),
    [
        (Step(grpc.StatusCode.INVALID_ARGUMENT, InvalidInput("no")), InvalidInput),
        (Step(grpc.StatusCode.NOT_FOUND, NotFound("no")), NotFound),
        # As gRPC refuses a message that is too large.
        (Step(grpc.StatusCode.RESOURCE_EXHAUSTED), ResourceExhausted),
        (Step(grpc.StatusCode.INTERNAL), Unavailable),
    ],
)
def test_a_failure_that_stays_is_raised_at_once(ask: Ask, step: Step, kind: type[CreditlineError]) -> None:
    with scripted_gateway(step) as (target, script), pytest.raises(kind):
        ask(target, retries=_QUICK)
    assert len(script.times) == 1


@both
def test_without_retries_a_call_is_sent_once(ask: Ask) -> None:
    with scripted_gateway(_DOWN) as (target, script), pytest.raises(Unavailable):
        ask(target, retries=NO_RETRIES)
    assert len(script.times) == 1


@both
def test_all_attempts_share_one_deadline(ask: Ask) -> None:
    endless = RetryPolicy(0.05, factor=1.0)
    started = time.monotonic()
    with (
        scripted_gateway(*[_DOWN] * 3, Step(seconds=30.0)) as (target, _),
        pytest.raises(DeadlineExceeded),
    ):
        ask(target, retries=endless, timeout_seconds=1.0)
    assert 0.9 <= time.monotonic() - started < 10.0


@both
def test_a_slow_call_is_sent_again_and_the_first_answer_wins(ask: Ask) -> None:
    started = time.monotonic()
    with scripted_gateway(Step(seconds=20.0)) as (target, script):
        assert ask(target, hedge_after_seconds=0.1, timeout_seconds=30.0) == RELEASE
        assert time.monotonic() - started < 15.0
        # The slow one is not computed further.
        assert script.cancelled.wait(15.0)
    assert len(script.times) == 2


@both
def test_a_quick_answer_is_asked_for_once(ask: Ask) -> None:
    with scripted_gateway() as (target, script):
        assert ask(target, hedge_after_seconds=20.0, timeout_seconds=30.0) == RELEASE
    assert len(script.times) == 1


@both
def test_one_of_two_calls_that_fails_leaves_the_other(ask: Ask) -> None:
    with scripted_gateway(Step(seconds=1.0), _DOWN) as (target, script):
        assert ask(target, hedge_after_seconds=0.1, timeout_seconds=30.0) == RELEASE
    assert len(script.times) == 2


@both
def test_two_calls_that_both_fail_are_repeated(ask: Ask) -> None:
    late = Step(grpc.StatusCode.UNAVAILABLE, seconds=0.5)
    with scripted_gateway(late, _DOWN) as (target, script):
        assert ask(target, hedge_after_seconds=0.1, timeout_seconds=30.0, retries=_QUICK) == RELEASE
    assert len(script.times) == 3


def test_lists_are_read_page_by_page() -> None:
    async def concurrently(target: str) -> list[str]:
        async with AsyncCreditlineClient(target) as client:
            return [each.subject async for each in client.withdrawals()]

    with scripted_gateway() as (target, _):
        with CreditlineClient(target) as client:
            blocking = [each.subject for each in client.withdrawals()]
        assert asyncio.run(concurrently(target)) == blocking
    assert blocking == [f"work-{row}" for row in range(1, 8)]


def test_both_clients_have_the_same_calls_with_the_same_parameters() -> None:
    def parameters(function: Callable[..., Any]) -> Iterable[inspect.Parameter]:
        return inspect.signature(function).parameters.values()

    def calls(client: type) -> dict[str, list[Any]]:
        functions = inspect.getmembers(client, inspect.isfunction)
        return {
            name: [(each.name, each.kind, each.default) for each in parameters(function)]
            for name, function in functions
            if not name.startswith("_") or name == "__init__"
        }

    assert calls(AsyncCreditlineClient) == calls(CreditlineClient)


@pytest.mark.parametrize(
    ("field", "value"),
    [("timeout_seconds", 0.0), ("hedge_after_seconds", -1.0), ("keepalive_seconds", 1.0)],
)
def test_an_option_out_of_range_is_refused_by_name(field: str, value: float) -> None:
    with pytest.raises(InvalidInput) as refused:
        CallOptions(**{field: value})
    assert refused.value.field == field
