"""Ten minutes at twice saturation: growth of memory, and whether what callers did not get counts as served.

Run `python -m tests.benchmarks.load.soak` (about twelve minutes). Calls come at twice the rate that the local
stack answers, and every tenth caller leaves after a random time. The memory of gateway with decoders, and of
the embedder, is watched; afterwards the ledger is compared with what each caller got.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sqlalchemy import create_engine, select

from creditline.ledger.api.undelivered import is_served
from creditline.ledger.tables import attributions
from tests.benchmarks.load.callers import (
    ANSWERED,
    DEADLINE_SECONDS,
    Caller,
    Outcome,
    Site,
    counted,
    running_site,
)
from tests.benchmarks.load.overload import best_rate
from tests.benchmarks.process_trees import tree_mib
from tests.benchmarks.result_files import Figure, write_result

COMMAND = "make load"
SEED = 0
LEFT = "left"
_TIMES_SATURATION = 2
_LEAVING_PART = 0.1
_SAMPLE_SECONDS = 1.0
# Marks are written in the background.
_MARKS_SECONDS = 5.0


@dataclass(frozen=True)
class Plan:
    """How long to measure."""

    seconds: float = 600.0
    settle_seconds: float = 120.0
    best_seconds: float = 10.0


async def soak(site: Site, plan: Plan) -> tuple[list[Outcome], dict[str, list[float]], float]:
    """Calls at twice saturation: what became of them, memory by process in MiB, and the rate of answers."""
    rng = random.Random(SEED)
    async with site.calls() as caller:
        await best_rate(caller, plan.best_seconds / 2)
        best = await best_rate(caller, plan.best_seconds)
        watching = asyncio.create_task(_watched(site))
        outcomes = await _called(caller, best * _TIMES_SATURATION, plan.seconds, rng)
        watching.cancel()
        memory = (await asyncio.gather(watching, return_exceptions=True))[0]
    assert isinstance(memory, dict)
    await asyncio.sleep(_MARKS_SECONDS)
    return outcomes, memory, best


async def _watched(site: Site) -> dict[str, list[float]]:
    memory: dict[str, list[float]] = {"gateway": [], "embedder": []}
    try:
        while True:
            for name, samples in memory.items():
                samples.append(await asyncio.to_thread(tree_mib, site.stack.pids[name]))
            await asyncio.sleep(_SAMPLE_SECONDS)
    except asyncio.CancelledError:
        return memory


async def _called(caller: Caller, rate: float, seconds: float, rng: random.Random) -> list[Outcome]:
    tasks: list[asyncio.Task[Outcome]] = []
    began = time.monotonic()
    while (elapsed := time.monotonic() - began) < seconds:
        for _ in range(int(elapsed * rate) - len(tasks)):
            leaves = rng.uniform(0.0, DEADLINE_SECONDS) if rng.random() < _LEAVING_PART else None
            tasks.append(asyncio.create_task(_one(caller, leaves)))
        await asyncio.sleep(0.005)
    return await asyncio.gather(*tasks)


async def _one(caller: Caller, leaves_after: float | None) -> Outcome:
    """One call, which its caller cancels after a time, unless it has ended by then."""
    call = caller.prepared()
    task = asyncio.create_task(call.send())
    done, _ = await asyncio.wait({task}, timeout=leaves_after)
    if done:
        return task.result()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    if not task.cancelled():
        return task.result()
    return Outcome(LEFT, leaves_after or 0.0, call.prompt)


def served_prompts(ledger_url: str) -> set[str]:
    """Prompts of the answers that count as served."""
    engine = create_engine(ledger_url)
    with engine.connect() as connection:
        found = set(connection.scalars(select(attributions.c.prompt).where(is_served(attributions.c.id))))
    engine.dispose()
    return found


def growth(samples: Sequence[float], plan: Plan) -> float:
    """Growth of memory from the end of settling to the end: medians of a tenth of the time each."""
    settled = samples[round(len(samples) * plan.settle_seconds / plan.seconds) :]
    tenth = max(len(settled) // 10, 1)
    return float(np.median(settled[-tenth:]) / np.median(settled[:tenth])) - 1.0


def figures_of(
    outcomes: Sequence[Outcome], served: set[str], memory: Mapping[str, Sequence[float]], plan: Plan
) -> dict[str, Figure]:
    """The figures of the run."""
    growths = [growth(samples, plan) for samples in memory.values()]
    not_got = {outcome.prompt for outcome in outcomes if outcome.status != ANSWERED}
    return {
        "memory_growth": Figure(
            max(growths),
            low=min(growths),
            high=max(growths),
            target="<= 0.05",
            what="growth of memory (gateway with decoders, embedder: the larger) in 10 minutes at twice"
            " saturation, after the second minute",
        ),
        "undelivered_counted": Figure(
            len(not_got & served),
            target="== 0",
            what=f"of {len(not_got):,} refused or cancelled calls in that run, those that count as served (a"
            " count, exact)",
        ),
    }


def rows_of(
    outcomes: Sequence[Outcome], served: set[str], memory: Mapping[str, Sequence[float]], best: float
) -> list[dict[str, Any]]:
    """The rows of the run: outcomes, and memory by minute."""
    got = {outcome.prompt for outcome in outcomes if outcome.status == ANSWERED}
    return [
        {
            "part": "soak",
            "best_per_second": best,
            "calls": len(outcomes),
            "outcomes": counted(outcomes),
            "served_rows": len(served),
            "answered_without_row": len(got - served),
        },
        *(
            {"part": "soak memory", "process": name, "mib": [round(each, 1) for each in samples[::60]]}
            for name, samples in memory.items()
        ),
    ]


def main() -> None:
    """Measure and merge into `load.json`."""
    plan = Plan()
    with running_site() as site:
        outcomes, memory, best = asyncio.run(soak(site, plan))
        served = served_prompts(site.stack.ledger_url)
    figures = figures_of(outcomes, served, memory, plan)
    write_result("load", COMMAND, SEED, figures, rows_of(outcomes, served, memory, best), merge=True)
    for key, figure in figures.items():
        print(f"{key}: {figure.value:.3g} (target {figure.target})")


if __name__ == "__main__":
    main()
