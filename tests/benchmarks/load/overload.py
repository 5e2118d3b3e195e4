"""More requests than can be answered: who is refused, how early, and what the others get.

Run `python -m tests.benchmarks.load.overload` (about eight minutes). It starts the real local stack, measures
how many answers a second it gives to as many callers as saturate it, and between such measurements sends 420
and 1,000 calls at the same time with a deadline of ten seconds, and ten times as many calls a second as it
answers.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tests.benchmarks.load.callers import (
    ANSWERED,
    DEADLINE_SECONDS,
    LATE,
    REFUSED,
    Caller,
    Outcome,
    Site,
    counted,
    running_site,
)
from tests.benchmarks.result_files import Figure, write_result

COMMAND = "make load"
BURSTS = (420, 1_000)
_ROUNDS = 3
_SATURATING_CALLERS = 64
_WARM_SECONDS = 5.0
_BEST_SECONDS = 10.0
_TIMES_SATURATION = 10
_OVERLOAD_SECONDS = 20.0
# Until lines are as long as they get, which is when refusals begin.
_FILLING_SECONDS = DEADLINE_SECONDS


@dataclass(frozen=True)
class Plan:
    """How long and how often to measure."""

    rounds: int = _ROUNDS
    bursts: tuple[int, ...] = BURSTS
    best_seconds: float = _BEST_SECONDS
    warm_seconds: float = _WARM_SECONDS
    overload_seconds: float = _OVERLOAD_SECONDS


async def best_rate(caller: Caller, seconds: float) -> float:
    """Answers per second to callers that saturate the gateway."""
    outcomes = await caller.closed_loop(_SATURATING_CALLERS, seconds)
    return sum(outcome.status == ANSWERED for outcome in outcomes) / seconds


async def measure(site: Site, plan: Plan) -> list[dict[str, Any]]:
    """Bursts and overload, with the best rate before and after each."""
    rows: list[dict[str, Any]] = []
    async with site.calls() as caller:
        await best_rate(caller, plan.warm_seconds)
        before = await best_rate(caller, plan.best_seconds)
        for run in range(plan.rounds):
            for count, over_http in itertools.product(plan.bursts, (False, True)):
                outcomes = await caller.at_once(count, over_http=over_http)
                after = await best_rate(caller, plan.best_seconds)
                face = "http" if over_http else "grpc"
                rows.append({"run": run, "face": face, **_burst_row(count, outcomes, [before, after])})
                before = after
                print(rows[-1], flush=True)
            outcomes, rate = await _overloaded(caller, before, plan.overload_seconds)
            after = await best_rate(caller, plan.best_seconds)
            rows.append({"run": run, **_overload_row(outcomes, rate, [before, after])})
            before = after
            print(rows[-1], flush=True)
    return rows


def _burst_row(count: int, outcomes: Sequence[Outcome], best: Sequence[float]) -> dict[str, Any]:
    answered = [outcome.seconds for outcome in outcomes if outcome.status == ANSWERED]
    refused = [outcome.seconds for outcome in outcomes if outcome.status == REFUSED]
    possible = min(count, float(np.mean(best)) * DEADLINE_SECONDS)
    return {
        "part": "burst",
        "at_once": count,
        "outcomes": counted(outcomes),
        "best_per_second": list(best),
        "accepted_over_possible": len(answered) / possible,
        "answered_p50_s": _percentile(answered, 50),
        "answered_max_s": _percentile(answered, 100),
        "refused_p50_s": _percentile(refused, 50),
        "refused_p99_s": _percentile(refused, 99),
    }


def _percentile(seconds: Sequence[float], percent: int) -> float | None:
    return float(np.percentile(seconds, percent)) if seconds else None


async def _overloaded(caller: Caller, best: float, seconds: float) -> tuple[list[Outcome], float]:
    """All calls at ten times the best rate, and answers per second once lines are full."""
    ended: list[tuple[float, str]] = []
    began = time.monotonic()

    async def watched() -> Outcome:
        outcome = await caller.call()
        ended.append((time.monotonic() - began, outcome.status))
        return outcome

    tasks: list[asyncio.Task[Outcome]] = []
    whole = _FILLING_SECONDS + seconds
    while (elapsed := time.monotonic() - began) < whole:
        due = int(elapsed * best * _TIMES_SATURATION) - len(tasks)
        tasks += [asyncio.create_task(watched()) for _ in range(due)]
        await asyncio.sleep(0.005)
    outcomes = await asyncio.gather(*tasks)
    answered = sum(_FILLING_SECONDS <= at < whole and status == ANSWERED for at, status in ended)
    return outcomes, answered / seconds


def _overload_row(outcomes: Sequence[Outcome], rate: float, best: Sequence[float]) -> dict[str, Any]:
    return {
        "part": "overload",
        "calls": len(outcomes),
        "outcomes": counted(outcomes),
        "best_per_second": list(best),
        "answered_per_second": rate,
        "goodput": rate / float(np.mean(best)),
    }


def figures_of(rows: Sequence[dict[str, Any]]) -> dict[str, Figure]:
    """The figures of the runs."""
    bursts = [row for row in rows if row["part"] == "burst"]
    overloads = [row for row in rows if row["part"] == "overload"]
    late = [row["outcomes"].get(LATE, 0) for row in bursts]
    accepted = [row["accepted_over_possible"] for row in bursts]
    goodput = [row["goodput"] for row in overloads]
    return {
        "late_refusals": Figure(
            sum(late),
            target="== 0",
            what=f"DEADLINE_EXCEEDED or 504 in {len(bursts)} runs of 420 or 1,000 calls at once, over gRPC"
            " and HTTP (a count, exact)",
        ),
        "accepted_over_possible": Figure(
            float(np.median(accepted)),
            low=min(accepted),
            high=max(accepted),
            target=">= 0.85",
            what="answers in those runs over what the measured rate fits into the deadline of 10 s (median)",
        ),
        "goodput_at_10x": Figure(
            float(np.median(goodput)),
            low=min(goodput),
            high=max(goodput),
            target=">= 0.9",
            what="answers/s while ten times as many calls come as are answered, over the best rate (median)",
        ),
    }


def main() -> None:
    """Measure and merge into `load.json`."""
    with running_site() as site:
        rows = asyncio.run(measure(site, Plan()))
    figures = figures_of(rows)
    write_result("load", COMMAND, None, figures, rows, merge=True)
    for key, figure in figures.items():
        print(f"{key}: {figure.value:.3g} (target {figure.target})")


if __name__ == "__main__":
    main()
