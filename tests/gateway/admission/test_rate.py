"""What a gate learns from the ends of answers."""

from __future__ import annotations

import math

import pytest

from creditline.gateway.admission.rate import ServiceRate, ServiceTime


def test_the_rate_is_that_of_ends_while_others_wait_and_idle_time_does_not_count() -> None:
    rate = ServiceRate()
    assert rate.per_second(0.0) == math.inf
    for burst in (0.0, 100.0):
        for step in range(200):
            rate.ended(burst + step / 50, others_wait=step < 199)
    assert rate.per_second(1000.0) == pytest.approx(50.0, rel=0.01)


def test_answers_that_end_in_batches_are_counted_at_their_average() -> None:
    rate = ServiceRate()
    for batch in range(20):
        for _ in range(16):
            rate.ended(0.2 * batch, others_wait=True)
    assert rate.per_second(0.2 * 19.5) == pytest.approx(80.0, rel=0.1)


def test_a_change_of_speed_is_followed_within_seconds_and_a_stall_at_once() -> None:
    rate = ServiceRate()
    now = 0.0
    for _ in range(1_000):
        now += 0.01
        rate.ended(now, others_wait=True)
    for _ in range(100):
        now += 0.1
        rate.ended(now, others_wait=True)
    assert 10.0 < rate.per_second(now) < 30.0
    before = rate.per_second(now)
    assert rate.per_second(now + 10.0) < before / 2


def test_the_time_of_an_answer_is_stated_with_caution_and_a_slow_start_is_forgotten() -> None:
    time = ServiceTime()
    assert time.cautious == 0.0
    time.took(5.0)
    for _ in range(60):
        time.took(0.5)
    assert time.mean == pytest.approx(0.5, abs=0.02)
    assert 0.5 < time.cautious < 0.7
    for seconds in (0.2, 0.8) * 20:
        time.took(seconds)
    assert time.cautious > 0.8
