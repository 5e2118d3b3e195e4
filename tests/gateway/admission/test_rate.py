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
    # Between two batches too.
    assert rate.per_second(0.2 * 19.9) == pytest.approx(80.0, rel=0.1)
    assert 1.0 < rate.hopeful(0.2 * 19.9) / rate.per_second(0.2 * 19.9) < 1.2


def test_a_change_of_speed_is_followed_and_a_stall_is_noticed_while_it_lasts() -> None:
    rate = ServiceRate()
    now = 0.0
    for _ in range(1_000):
        now += 0.01
        rate.ended(now, others_wait=True)
    for _ in range(250):
        now += 0.1
        rate.ended(now, others_wait=True)
    assert 10.0 < rate.per_second(now) < 30.0
    before = rate.per_second(now)
    assert rate.per_second(now + 10.0) < before / 2


def test_the_time_of_an_answer_grows_with_those_in_flight_and_a_slow_start_is_forgotten() -> None:
    time = ServiceTime()
    assert time.expected(48, deviations=3) == 0.0
    time.took(50.0, 1)
    for _ in range(60):
        for in_flight in (10, 20, 30, 40):
            time.took(in_flight * 0.01, in_flight)
    assert time.expected(48) == pytest.approx(0.48, rel=0.02)
    assert time.expected(48, deviations=3) < 0.55
    for seconds in (0.1, 0.9) * 20:
        time.took(seconds, 48)
    assert time.expected(48) == pytest.approx(0.5, abs=0.15)
    assert time.expected(48, deviations=3) > 1.0
