"""A gateway whose ledger cannot be written: answers are UNAVAILABLE in time, and all else goes on."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from creditline.client import NO_RETRIES, CreditlineClient
from creditline.errors import Unavailable
from tests.gateway.conftest import GENERATOR
from tests.gateway.served import Served
from tests.ledger.database.test_threads import write_lock
from tests.processes import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def _ask(served: Served, number: int) -> tuple[str, float]:
    """Kind of the outcome of one question, and its duration in seconds."""
    work, began = served.corpus.works[number % len(served.corpus)], time.monotonic()
    with CreditlineClient(served.gateway.target, timeout_seconds=30, retries=NO_RETRIES) as client:
        try:
            client.attribute(work.thumbnail, prompt=work.caption, generator=GENERATOR)
            outcome = "answered"
        except Unavailable as error:
            outcome = f"{error.service}: {error.retry_after_seconds}"
    return outcome, time.monotonic() - began


def test_answers_fail_in_time_and_everything_else_is_served_while_the_ledger_is_stuck(
    served: Served,
) -> None:
    path = Path(served.settings.ledger_url.removeprefix("sqlite:///"))
    assert _ask(served, 0)[0] == "answered"
    with ThreadPoolExecutor(8) as callers, served.gateway.http() as http:
        with write_lock(path):
            asked = [callers.submit(_ask, served, number) for number in range(8)]
            time.sleep(0.5)
            for route in ("/healthz", "/readyz", "/metrics", f"/v1/works/{served.corpus.ids[0]}"):
                began = time.monotonic()
                assert http.get(route).status_code == 200
                assert time.monotonic() - began < 2.0, route
            outcomes = [each.result() for each in asked]
        assert {outcome.partition(":")[0] for outcome, _ in outcomes} == {"ledger"}
        assert max(seconds for _, seconds in outcomes) < 12.0
        wait_until(lambda: _ask(served, 1)[0] == "answered", "the breaker lets calls try")
    with served.ledger() as ledger:
        assert ledger.verify_chain().intact
