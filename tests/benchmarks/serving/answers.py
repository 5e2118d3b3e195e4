"""Answers through the gateway, beside an earlier version's and beside the bare parts of an answer.

Run `python -m tests.benchmarks.serving.answers` on a quiet machine of two cores (about eight minutes; the
earlier commit must be in the repository). The local stacks of both versions run side by side and are asked in
turn; the bare parts run in this process and take turns with this version's answers.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import tempfile
from collections.abc import Sequence
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tests.benchmarks.paired_ratios import ratio_of_medians
from tests.benchmarks.result_files import REPOSITORY, Figure, write_result
from tests.benchmarks.serving.bare_parts import BareParts
from tests.benchmarks.serving.embed import EARLIER, checked_out
from tests.benchmarks.serving.stacks import Callers, RunningStack, queries, running_stack

COMMAND = "python -m tests.benchmarks.serving.answers"
SEED = 0
_CALLERS = 32
_BATCHES = (8, 16, 32)
_RESAMPLES = 2_000
_SIDES = (64, 512)


@dataclass(frozen=True)
class Effort:
    """How much is measured."""

    turns: int = 10
    """Number of turns, in each of which both versions are asked."""
    single: int = 30
    """Answers of one caller in a turn, for each size of picture."""
    crowd: int = 192
    """Answers of all callers together in a turn."""
    pairs: int = 600
    """Answers beside bare ones."""


Rows = list[dict[str, Any]]
Query = tuple[bytes, str]


async def asked(stack: RunningStack, callers: Callers, waiting: int, sent: Sequence[Query]) -> dict[str, Any]:
    """One measurement of one version."""
    before = stack.seconds()
    answers = await callers.all(waiting, sent)
    cpu = (stack.seconds() - before) / len(sent)
    return {"p50_ms": answers.p50_ms, "rate": answers.rate, "cpu_ms": cpu * 1e3}


async def versions_in_turn(stacks: dict[str, RunningStack], effort: Effort) -> Rows:
    """Both versions, one caller and many, in turns whose order alternates."""
    pictures = {side: queries(effort.crowd, side, SEED) for side in _SIDES}
    loads = {f"one caller, {side} pixels": (1, pictures[side][: effort.single]) for side in _SIDES} | {
        f"{_CALLERS} callers": (_CALLERS, pictures[_SIDES[0]])
    }
    rows: Rows = []
    async with AsyncExitStack() as opened:
        callers = {name: await opened.enter_async_context(Callers(stack)) for name, stack in stacks.items()}
        for name, each in callers.items():
            await asked(stacks[name], each, _CALLERS, pictures[_SIDES[0]])
        for turn in range(effort.turns):
            for load, (waiting, sent) in loads.items():
                for name in list(stacks)[:: 1 if turn % 2 else -1]:
                    found = await asked(stacks[name], callers[name], waiting, sent)
                    rows.append({"part": "answers", "turn": turn, "load": load, "version": name, **found})
                    print(rows[-1], flush=True)
    return rows


async def beside_bare(stack: RunningStack, bare: BareParts, effort: Effort) -> Rows:
    """Answers of one caller and of the bare parts, in turn."""
    sent = queries(effort.pairs, _SIDES[0], SEED + 1)
    rows: Rows = []
    async with Callers(stack) as callers:
        for number, query in enumerate(sent):
            if number % 2:
                ours, theirs = await callers.one(*query), bare(*query)
            else:
                theirs, ours = bare(*query), await callers.one(*query)
            rows.append({"part": "bare", "turn": number, "answer_ms": ours, "bare_ms": theirs})
    return rows


async def beside_batches(stack: RunningStack, bare: BareParts, effort: Effort) -> Rows:
    """Rate of all callers, and of forward passes alone by size of batch, in turn."""
    sent = queries(effort.crowd, _SIDES[0], SEED + 2)
    rows: Rows = []
    async with Callers(stack) as callers:
        for turn in range(effort.turns):
            answers = (await callers.all(_CALLERS, sent)).rate
            bare_rates = {f"batch_{batch}": bare.rate(sent[: 3 * batch], batch) for batch in _BATCHES}
            rows.append({"part": "batches", "turn": turn, "answers": answers, **bare_rates})
            print(rows[-1], flush=True)
    return rows


def figures_of_versions(rows: Rows) -> dict[str, Figure]:
    """This version over the earlier one."""

    def ratio(load: str, measure: str, target: str, what: str) -> Figure:
        ours, theirs = (
            [row[measure] for row in rows if row["load"] == load and row["version"] == version]
            for version in ("ours", "today")
        )
        value, low, high = ratio_of_medians(ours, theirs)
        medians = f"{np.median(ours):.1f} ms, before {np.median(theirs):.1f}"
        return Figure(value, "ratio", low, high, target, f"{what}, over commit {EARLIER}; {medians}")

    small, large = (f"one caller, {side} pixels" for side in _SIDES)
    cpu = "CPU time of an answer (gateway, decoders, embedder)"
    return {
        "attribute_p50_over_today": ratio(small, "p50_ms", "<= 0.45", "median answer, one caller, 64 pixels"),
        "attribute_p50_over_today_512": ratio(
            large, "p50_ms", "<= 0.4", "median answer, one caller, 512 pixels"
        ),
        "cpu_over_today": ratio(f"{_CALLERS} callers", "cpu_ms", "<= 0.45", f"{cpu}, 32 callers"),
        "cpu_over_today_single": ratio(small, "cpu_ms", "<= 0.6", f"{cpu}, one caller"),
    }


def figures_over_bare(rows: Rows) -> dict[str, Figure]:
    """Answers over the bare parts, at the median and at the 99th percentile."""
    times = np.array([[row["answer_ms"], row["bare_ms"]] for row in rows if row["part"] == "bare"])
    rng = np.random.default_rng(SEED)

    def ratio(percentile: float, target: str) -> Figure:
        ours, theirs = map(float, np.percentile(times, percentile, axis=0))
        drawn = times[rng.integers(0, len(times), (_RESAMPLES, len(times)))]
        ends = np.percentile(drawn, percentile, axis=1)
        low, high = np.percentile(ends[:, 0] / ends[:, 1], [2.5, 97.5])
        what = f"p{percentile:.0f} of an answer over decode, forward, index query and durable insert in turn"
        return Figure(
            ours / theirs, "ratio", low, high, target, f"{what}, one caller; {ours:.1f} ms over {theirs:.1f}"
        )

    return {
        "attribute_over_bare_p50": ratio(50, "<= 1.4"),
        "attribute_over_bare_p99": ratio(99, "<= 2"),
    }


def figure_over_batches(rows: Rows) -> dict[str, Figure]:
    """Answers per second of many callers over the best bare batch."""
    chosen = [row for row in rows if row["part"] == "batches"]
    best = max(_BATCHES, key=lambda batch: float(np.median([row[f"batch_{batch}"] for row in chosen])))
    ours = [row["answers"] for row in chosen]
    value, low, high = ratio_of_medians(ours, [row[f"batch_{best}"] for row in chosen])
    passes = f"forward passes alone, {best} pairs each"
    what = f"answers/s of {_CALLERS} callers ({np.median(ours):.0f}) over {passes}"
    return {"batched_throughput_ratio": Figure(value, "ratio", low, high, ">= 0.9", what)}


def measured(effort: Effort) -> Rows:
    """All measurements of both stacks."""
    with tempfile.TemporaryDirectory() as scratch, ExitStack() as opened:
        directory = Path(scratch)
        today = opened.enter_context(checked_out(EARLIER, directory / "earlier"))
        sources = {"today": today, "ours": REPOSITORY / "services"}
        stacks = {
            name: opened.enter_context(running_stack(source, directory / f"state-{name}"))
            for name, source in sources.items()
        }
        rows = asyncio.run(versions_in_turn(stacks, effort))
        ours = stacks["ours"]
        threads = int(os.environ.get("OMP_NUM_THREADS", "2"))
        bare = BareParts(ours.qdrant, ours.collection, directory / "bare.db", threads)
        opened.callback(bare.close)
        rows += asyncio.run(beside_bare(ours, bare, effort))
        rows += asyncio.run(beside_batches(ours, bare, effort))
    return rows


def main() -> None:
    """Measure, print and write the figures."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--quick", action="store_true", help="few turns, and no result file")
    quick = arguments.parse_args().quick
    rows = measured(Effort(turns=2, single=10, crowd=64, pairs=100) if quick else Effort())
    found = figures_of_versions([row for row in rows if row["part"] == "answers"])
    found |= figures_over_bare(rows) | figure_over_batches(rows)
    for name, figure in found.items():
        print(f"{name}: {figure.value:.3f} ({figure.low:.3f} to {figure.high:.3f})  {figure.what}")
    if not quick:
        write_result("serving", COMMAND, SEED, found, rows, merge=True)


if __name__ == "__main__":
    main()
