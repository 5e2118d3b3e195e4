"""The load runs, in small: what they compute from what they saw, and the ledger that they read."""

from __future__ import annotations

from pathlib import Path

import pytest

from creditline.ledger import Ledger
from tests.benchmarks.load import overload, soak, swaps
from tests.benchmarks.load.callers import ANSWERED, LATE, REFUSED, Outcome, counted
from tests.ledger.conftest import record


def _outcomes(**counts: int) -> list[Outcome]:
    return [
        Outcome(status, float(number % 10), f"{status} {number}")
        for status, count in counts.items()
        for number in range(count)
    ]


def test_a_burst_is_held_against_what_fits_into_the_deadline_or_what_was_asked() -> None:
    few = overload._burst_row(100, _outcomes(OK=90, RESOURCE_EXHAUSTED=10), [100.0, 100.0])
    many = overload._burst_row(1_000, _outcomes(OK=450, RESOURCE_EXHAUSTED=548, DEADLINE_EXCEEDED=2), [50.0])
    assert (few["accepted_over_possible"], many["accepted_over_possible"]) == (0.9, 0.9)
    overloaded = overload._overload_row(_outcomes(OK=10, RESOURCE_EXHAUSTED=90), 45.0, [50.0, 40.0])
    figures = overload.figures_of([few, many, overloaded])
    assert {name: figure.value for name, figure in figures.items()} == {
        "late_refusals": 2,
        "accepted_over_possible": pytest.approx(0.9),
        "goodput_at_10x": pytest.approx(1.0),
    }
    assert counted(_outcomes(OK=1, RESOURCE_EXHAUSTED=2)) == {ANSWERED: 1, REFUSED: 2}
    assert LATE not in few["outcomes"]


def test_memory_is_compared_after_it_has_settled() -> None:
    plan = soak.Plan(seconds=600.0, settle_seconds=120.0)
    samples = [50.0 + min(second, 100) for second in range(600)]
    assert soak.growth(samples, plan) == pytest.approx(0.0)
    assert soak.growth([*samples[:500], *[165.0] * 100], plan) == pytest.approx(0.1)


def test_an_answer_that_its_caller_did_not_get_counts_unless_it_is_marked(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/ledger.db"
    with Ledger.open(url) as ledger:
        for prompt in ("got", "left", "left and marked"):
            attribution_id = record(ledger, prompt, awaits_delivery=True)
        ledger.mark_undelivered([attribution_id])
    served = soak.served_prompts(url)
    assert served == {"got", "left"}
    outcomes = [
        Outcome(ANSWERED, 0.1, "got"),
        Outcome(soak.LEFT, 0.1, "left"),
        Outcome(soak.LEFT, 0.1, "left and marked"),
    ]
    figures = soak.figures_of(outcomes, served, {"gateway": [100.0] * 100}, soak.Plan())
    assert figures["undelivered_counted"].value == 1


def test_failures_and_ends_of_gateways_are_counted_over_all_parts() -> None:
    rows = [
        {"part": "hot swap", "outcomes": {"answered": 8, "Unavailable: down": 1}, "stop_seconds": []},
        {"part": "restart of gateways", "outcomes": {"answered": 5}, "stop_seconds": [1.0, 3.0]},
        {"part": "restart of embedders", "outcomes": {"answered": 5}, "stop_seconds": [30.0]},
        {"part": "stop while decoding", "outcomes": {}, "stop_seconds": [2.0]},
    ]
    figures = swaps.figures_of(rows)
    assert (figures["swap_failures"].value, figures["stop_seconds"].value) == (1, 3.0)
