"""How long queries wait while the optimizer builds new works into a collection."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from creditline.index import WorkIndex, WorkSearch
from tests.benchmarks.index.running import corpus_of, features_of, load, running_index

_WORKS, _NEW = 300_000, 50_000
_LEAST_QUERIES = 2_000
_OPTIMIZE_SECONDS = 3_600.0
_DEADLINE_SECONDS = 60.0
_DEPTH = 100
_COLLECTION = "growing"


def measure_optimizing() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Seconds of queries one after the other: on a quiet collection, and while it is optimized."""
    with running_index("optimizing") as (running, index):
        index.delete(_COLLECTION)
        index.create(_COLLECTION, corpus_of(1).width)
        load(running, features_of(_WORKS), _COLLECTION, ["1/1"])
        index.optimize(_COLLECTION, timeout_seconds=_OPTIMIZE_SECONDS)
        quiet = asyncio.run(_asked(running.port, _counted(_LEAST_QUERIES)))
        corpus = corpus_of(_WORKS + _NEW)
        index.upsert(_COLLECTION, corpus.points(_WORKS, _WORKS + _NEW))
        builder = threading.Thread(target=_optimize, args=(index,))
        builder.start()
        busy = asyncio.run(_asked(running.port, builder.is_alive))
        builder.join()
        index.delete(_COLLECTION)
    return quiet, busy


def _optimize(index: WorkIndex) -> None:
    index.optimize(_COLLECTION, timeout_seconds=_OPTIMIZE_SECONDS)


def _counted(queries: int) -> Callable[[], bool]:
    left = iter(range(queries))
    return lambda: next(left, None) is not None


async def _asked(port: int, goes_on: Callable[[], bool]) -> NDArray[np.float64]:
    queries = corpus_of(1).queries(1_000)
    seconds = []
    async with WorkSearch.connect(grpc_port=port) as search:
        for number in range(100):
            await search.search(_COLLECTION, queries[number], _DEPTH, deadline_seconds=_DEADLINE_SECONDS)
        while goes_on():
            began = time.perf_counter()
            query = queries[len(seconds) % len(queries)]
            await search.search(_COLLECTION, query, _DEPTH, deadline_seconds=_DEADLINE_SECONDS, detailed=10)
            seconds.append(time.perf_counter() - began)
    return np.array(seconds)
