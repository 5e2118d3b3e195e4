"""Three ways to sum up what all works above a cosine hold: the index, a sample of vectors, all of them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from creditline.calibration.remainder import SAMPLE_SIZE
from creditline.index import WorkSearch
from tests.benchmarks.index.running import SEED, corpus_of

_QUERIES = 20
# About so many works are above the cosine.
_ABOVE = 2_000
_DEADLINE_SECONDS = 60.0


def measure_sums(port: int, collection: str, works: int) -> list[dict[str, Any]]:
    """One row a way: median milliseconds, and the mean relative error of the sum of cosines above it."""
    corpus = corpus_of(works)
    vectors, queries = corpus.vectors(), corpus.queries(_QUERIES)
    rows = np.sort(np.random.default_rng(SEED).choice(works, min(SAMPLE_SIZE, works), replace=False))
    sampled = vectors[rows]
    thresholds = [float(np.partition(vectors @ query, -_ABOVE)[-_ABOVE]) for query in queries]
    exact = [_sum(vectors @ query, cosine) for query, cosine in zip(queries, thresholds, strict=True)]

    async def by_index(search: WorkSearch, number: int) -> float:
        hits = await search.above(
            collection, queries[number], thresholds[number], deadline_seconds=_DEADLINE_SECONDS
        )
        return sum(hit.score for hit in hits)

    def by_sample(number: int) -> float:
        return _sum(sampled @ queries[number], thresholds[number]) * works / len(rows)

    def by_all(number: int) -> float:
        return _sum(vectors @ queries[number], thresholds[number])

    with asyncio.Runner() as runner:
        search = runner.run(_connected(port))
        ways: dict[str, Callable[[int], float]] = {
            "sums: search above a cosine": lambda number: runner.run(by_index(search, number)),
            f"sums: {len(rows):,} sampled vectors": by_sample,
            "sums: all vectors in memory": by_all,
        }
        found = [_row(name, way, exact, works) for name, way in ways.items()]
        runner.run(search.close())
    return found


async def _connected(port: int) -> WorkSearch:
    return WorkSearch.connect(grpc_port=port)


def _sum(cosines: NDArray[np.float32], least: float) -> float:
    return float(cosines[cosines >= least].sum())


def _row(name: str, way: Callable[[int], float], exact: list[float], works: int) -> dict[str, Any]:
    way(0)
    taken, errors = [], []
    for number, truth in enumerate(exact):
        began = time.perf_counter()
        found = way(number)
        taken.append(time.perf_counter() - began)
        errors.append(abs(found / truth - 1.0))
    return {
        "engine": name,
        "works": works,
        "p50_ms": float(np.median(taken) * 1000.0),
        "sum_error": float(np.mean(errors)),
        "above": _ABOVE,
    }
