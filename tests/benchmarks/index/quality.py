"""Measures the index at 10,000, 100,000 and 1M works: recall, time, memory, beside Faiss and the bare engine.

Run `python -m tests.benchmarks.index.quality` on a quiet machine. The first run fills and builds the
collections (about half an hour on 2 cores); they are kept under build/.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from creditline.index import WorkFilter, WorkSearch
from creditline.index.points import point_id
from creditline.local.qdrant.huge_pages import ensure_huge_pages
from tests.benchmarks.index.engines import DEPTH, BareEdge, FaissHnsw, copied_shard, without_fields
from tests.benchmarks.index.optimizing import measure_optimizing
from tests.benchmarks.index.plots import plot_growth, plot_recall
from tests.benchmarks.index.running import (
    MILLION,
    PLAN,
    SEED,
    SIZES,
    WORKPLACE,
    corpus_of,
    filled,
    running_index,
)
from tests.benchmarks.index.sums import measure_sums
from tests.benchmarks.index.synthetic import SyntheticCorpus
from tests.benchmarks.index.truth import nearest, recall
from tests.benchmarks.result_files import REPOSITORY, Figure, write_result

COMMAND = "python -m tests.benchmarks.index.quality"
QUERIES = 500
RUNS = 5
_TIMED = 200
_DETAILED = 10
_DEADLINE_SECONDS = 60.0
# Works made before 2025 are about half of all.
_UNTIL = 1_735_689_600
_EFS = (64, 128, 192, 256, 384, 512, 768, 1024)
_MILLISECONDS = 1000.0
# Twice the standard error of a mean.
_WIDE = 1.96


@dataclass(frozen=True, eq=False)
class Held:
    """Queries with the works that are nearest to them, of all and of those that pass the filter."""

    queries: NDArray[np.float32]
    truth: list[set[str]]
    filtered: list[set[str]]


def held_out(corpus: SyntheticCorpus) -> Held:
    """Held-out queries with their brute-force answers, as point ids."""
    queries = corpus.queries(QUERIES)
    seconds = np.array([corpus.created(number) for number in range(corpus.count)])
    every = nearest(corpus, queries, DEPTH)
    some = nearest(corpus, queries, DEPTH, keep=lambda dtype: seconds[dtype] < _UNTIL)
    return Held(queries, _ids(corpus, every), _ids(corpus, some))


def _ids(corpus: SyntheticCorpus, dtype: NDArray[np.int64]) -> list[set[str]]:
    return [{point_id(corpus.work_id(int(number))) for number in row} for row in dtype]


Call = Callable[[int], object]


async def ask(search: WorkSearch, collection: str, query: NDArray[np.float32], where: WorkFilter) -> set[str]:
    """Our whole layer: the best 100 with ids and scores, the best 10 with their payload."""
    hits = await search.search(
        collection, query, DEPTH, deadline_seconds=_DEADLINE_SECONDS, where=where, detailed=_DETAILED
    )
    return {hit.point_id for hit in hits}


async def medians(calls: Sequence[Call]) -> NDArray[np.float64]:
    """Median milliseconds of each call in each run, the calls taking turns: (calls, RUNS)."""
    for number in range(_TIMED // 4):
        for call in calls:
            await _seconds(call, number)
    found = []
    for run in range(RUNS):
        seconds = [
            [await _seconds(call, run * _TIMED + number) for call in calls] for number in range(_TIMED)
        ]
        found.append(np.median(seconds, axis=0))
    return np.array(found).T * _MILLISECONDS


async def _seconds(call: Call, number: int) -> float:
    """Of one call, awaited where it can be."""
    began = time.perf_counter()
    result = call(number % QUERIES)
    if inspect.isawaitable(result):
        await result
    return time.perf_counter() - began


@dataclass(frozen=True, eq=False)
class Measured:
    """One size: recalls by query, and medians in milliseconds (RUNS,) of our layer and of the engine."""

    works: int
    recalls: NDArray[np.float64]
    filtered: NDArray[np.float64]
    layer: NDArray[np.float64]
    truncated: NDArray[np.float64]
    bare: NDArray[np.float64]


async def measure(works: int) -> Measured:
    """Through our layer and beside it, on one size."""
    held, every, where = held_out(corpus_of(works)), WorkFilter(), WorkFilter(until=_UNTIL)
    with running_index("quality") as (running, index):
        name = filled(running, index, works)
        bare = BareEdge(copied_shard(WORKPLACE / "quality", name))
        async with WorkSearch.connect(grpc_port=running.port) as search:
            found = [await ask(search, name, query, every) for query in held.queries]
            truncated = [await ask(search, name, query, where) for query in held.queries]
            rows = held.queries.tolist()
            times = await medians(
                [
                    lambda number: ask(search, name, held.queries[number], every),
                    lambda number: ask(search, name, held.queries[number], where),
                    lambda number: bare.nearest(rows[number], PLAN.search_ef),
                ]
            )
        bare.close()
    return Measured(works, recall(found, held.truth), recall(truncated, held.filtered), *times)


async def sweeps(works: int) -> list[dict[str, Any]]:
    """Recall and milliseconds of the engine and of Faiss over efs, one thread each, taking turns."""
    corpus = corpus_of(works)
    queries = corpus.queries(QUERIES)
    dtype = nearest(corpus, queries, DEPTH)
    ids, truth = _ids(corpus, dtype), [set(row) for row in dtype.tolist()]
    bare, rival = BareEdge(WORKPLACE / f"bare-works-{works}", listed=False), FaissHnsw(works)
    rows, found = queries.tolist(), []
    for ef in _EFS:
        ours = recall([set(bare.nearest(row, ef)) for row in rows], ids)
        theirs = recall([set(rival.nearest(query, ef).tolist()) for query in queries], truth)
        times = await medians(
            [
                lambda number, ef=ef: bare.nearest(rows[number], ef),
                lambda number, ef=ef: rival.nearest(queries[number], ef),
            ]
        )
        for engine, recalls, taken in (
            ("Qdrant Edge, int8", ours, times[0]),
            ("Faiss HNSW, fp32", theirs, times[1]),
        ):
            found.append(
                {
                    "engine": engine,
                    "works": works,
                    "ef": ef,
                    "recall100": float(recalls.mean()),
                    "p50_ms": statistics.median(taken),
                    "runs_ms": taken.tolist(),
                }
            )
    bare.close()
    return found


def at_recall(rows: Sequence[dict[str, Any]], engine: str, wanted: float) -> NDArray[np.float64]:
    """Milliseconds of an engine at one recall, run by run, between the efs on both sides of it: (RUNS,)."""
    own = sorted((row for row in rows if row["engine"] == engine), key=lambda row: row["recall100"])
    recalls = [row["recall100"] for row in own]
    return np.array(
        [np.interp(wanted, recalls, runs) for runs in np.transpose([row["runs_ms"] for row in own])]
    )


def resident(kind: str, place: str) -> dict[str, int]:
    """Bytes that an engine holds, in a process of its own."""
    module = [sys.executable, "-m", "tests.benchmarks.index.resident", kind, place]
    said = subprocess.run(module, capture_output=True, text=True, check=True, cwd=REPOSITORY)
    found: dict[str, int] = json.loads(said.stdout)
    return found


def mean_figure(values: NDArray[np.float64], target: str | None, what: str) -> Figure:
    """A mean over queries with its 95 % interval."""
    wide = _WIDE * float(values.std(ddof=1)) / len(values) ** 0.5
    mean = float(values.mean())
    return Figure(mean, "", mean - wide, mean + wide, target=target, what=what)


def run_figure(values: NDArray[np.float64], unit: str, target: str | None, what: str) -> Figure:
    """A median over runs, with the least and the most."""
    return Figure(
        float(np.median(values)), unit, float(values.min()), float(values.max()), target=target, what=what
    )


def main() -> None:
    """Measure and write `index.json` with its plots."""
    sizes = {works: asyncio.run(measure(works)) for works in SIZES}
    million, small = sizes[MILLION], sizes[SIZES[0]]
    swept = asyncio.run(sweeps(MILLION))
    equal = next(row["recall100"] for row in swept if row["ef"] == PLAN.search_ef)
    ours, theirs = (at_recall(swept, engine, equal) for engine in ("Qdrant Edge, int8", "Faiss HNSW, fp32"))
    whole, faiss = resident("edge", str(WORKPLACE / f"bare-works-{MILLION}")), resident("faiss", str(MILLION))
    edge = resident("edge", str(without_fields(WORKPLACE / f"bare-works-{MILLION}")))
    quiet, busy = measure_optimizing()
    figures = {
        "recall100_1m": mean_figure(
            million.recalls, ">= 0.97", "of the exact nearest 100 of 1M, through our whole index layer"
        ),
        "p50_ms_1m": run_figure(
            million.layer, "ms", "<= 5", "the same run: 100 ids and scores, payload of the best 10"
        ),
        "p50_minus_bare_ms": run_figure(
            million.layer - million.bare, "ms", "<= 2.5", "the same less the engine's own call"
        ),
        "recall100_filtered_1m": mean_figure(
            million.filtered, ">= 0.96", "when about half of all works pass"
        ),
        "p50_growth_10k_1m": run_figure(
            million.layer / small.layer, "", "<= 3", "time at 1M over time at 10,000 works"
        ),
        "over_faiss_hnsw_p50": run_figure(
            ours / theirs,
            "",
            "<= 1",
            f"the bare engine over Faiss HNSW, both at recall {equal:.3f}, one thread",
        ),
        "ram_per_work_over_faiss": Figure(
            edge["must"] / faiss["must"],
            target="<= 0.5",
            what=(
                f"vectors and ids alone, as Faiss holds: {edge['must'] / MILLION:.0f} B a work that must stay"
                f" in memory over {faiss['must'] / MILLION:.0f} B"
            ),
        ),
        "ram_with_fields_over_faiss": Figure(
            whole["must"] / faiss["must"],
            what=f"with the five indexes that works are filtered by: {whole['must'] / MILLION:.0f} B a work",
        ),
        "ram_with_cache_over_faiss": Figure(
            (whole["must"] + whole["may"]) / faiss["must"],
            what="with those and all pages that queries have touched and the kernel may drop",
        ),
        "p99_while_optimizing_ratio": Figure(
            float(np.quantile(busy, 0.99) / np.quantile(quiet, 0.99)),
            target="<= 3",
            what="p99 while 50,000 new works among 300,000 are built, over quiet",
        ),
        "p50_filtered_ms_1m": run_figure(million.truncated, "ms", None, "with the filter"),
    }
    rows = [_row(found) for found in sizes.values()] + [
        {name: value for name, value in row.items() if name != "runs_ms"} for row in swept
    ]
    with running_index("quality") as (running, _):
        rows += measure_sums(running.port, f"works-{MILLION}", MILLION)
    plot_recall(swept)
    plot_growth(rows[: len(SIZES)])
    write_result("index", COMMAND, SEED, figures, rows)
    for name, figure in figures.items():
        print(f"{name:28s} {figure.value:.4g} {figure.unit} (target {figure.target})")


def _row(found: Measured) -> dict[str, Any]:
    return {
        "engine": "our layer",
        "works": found.works,
        "ef": PLAN.search_ef,
        "recall100": float(found.recalls.mean()),
        "recall100_filtered": float(found.filtered.mean()),
        "p50_ms": float(np.median(found.layer)),
        "p50_filtered_ms": float(np.median(found.truncated)),
        "bare_p50_ms": float(np.median(found.bare)),
    }


if __name__ == "__main__":
    # As the local Qdrant does: the bare engine and Faiss shall have no worse memory than what is beside them.
    ensure_huge_pages()
    main()
