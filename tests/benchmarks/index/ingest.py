"""Measures how fast works get into the index, beside a plain client's loop and the engine alone.

Run `python -m tests.benchmarks.index.ingest` on a quiet machine (about 12 minutes on 2 cores).
"""

from __future__ import annotations

import itertools
import statistics
import tempfile
import time
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import qdrant_edge as edge
from qdrant_client import QdrantClient, models

from creditline.index import WorkPoint
from creditline.index.points import origin, point_id
from tests.benchmarks.index.plots import plot_ingest
from tests.benchmarks.index.running import (
    MILLION,
    PLAN,
    SEED,
    Loaded,
    corpus_of,
    features_of,
    load,
    running_index,
)
from tests.benchmarks.result_files import Figure, write_result
from tests.local.qdrant_process import RunningQdrant

COMMAND = "python -m tests.benchmarks.index.ingest"
RUNS = 3
_WORKS = 200_000
_PLAIN_WORKS = 20_000
_BATCH = PLAN.upsert_batch
_GIB = 2**30


def payload_of(point: WorkPoint) -> dict[str, Any]:
    """The payload that our layer writes, as a plain client would."""
    texts = ("work_id", "caption", "title", "licence", "source")
    return {
        **{name: getattr(point, name) for name in texts},
        "origin": origin(point.source),
        "withdrawn": 0,
        "created": point.created,
        "holders": point.contributor,
    }


def _batches(works: int) -> Iterator[list[WorkPoint]]:
    points = corpus_of(works).points()
    while batch := list(itertools.islice(points, _BATCH)):
        yield batch


def plain_client(running: RunningQdrant, collection: str) -> float:
    """Works a second of qdrant-client's own upsert with its own models, batch after batch."""
    client = QdrantClient(
        host="127.0.0.1", grpc_port=running.port, prefer_grpc=True, check_compatibility=False
    )
    batches = list(_batches(_PLAIN_WORKS))
    began = time.perf_counter()
    for batch in batches:
        client.upsert(
            collection,
            [
                models.PointStruct(
                    id=point_id(point.work_id), vector=point.vector.tolist(), payload=payload_of(point)
                )
                for point in batch
            ],
            wait=True,
        )
    seconds = time.perf_counter() - began
    client.close()
    return _PLAIN_WORKS / seconds


def engine_alone(directory: Path) -> float:
    """Works a second of Qdrant Edge in one process, without gRPC."""
    config = edge.EdgeConfig(
        vectors=edge.EdgeVectorParams(
            size=corpus_of(1).width,
            distance=edge.Distance.Cosine,
            datatype=edge.VectorStorageDatatype.Float16,
            on_disk=True,
        ),
        on_disk_payload=True,
    )
    shard = edge.EdgeShard.create(str(directory), config)
    batches = list(_batches(_PLAIN_WORKS))
    began = time.perf_counter()
    for batch in batches:
        points = [
            edge.Point(uuid.UUID(point_id(point.work_id)), point.vector.tolist(), payload_of(point))
            for point in batch
        ]
        shard.update(edge.UpdateOperation.upsert_points(points))
    shard.flush()
    seconds = time.perf_counter() - began
    shard.close()
    return _PLAIN_WORKS / seconds


def measured_loads(shares: list[str], shards: int, works: int, runs: int) -> list[list[Loaded]]:
    """So many runs into an empty collection of `shards`."""
    source, found = features_of(works), []
    for _ in range(runs):
        with running_index("ingest", replace(PLAN, shards=shards)) as (running, index):
            index.delete("filling")
            index.create("filling", corpus_of(works).width)
            found.append(load(running, source, "filling", shares))
            assert index.count("filling") == works
            index.delete("filling")
    return found


def rate(loads: list[Loaded]) -> float:
    """Works a second of loaders that ran at once."""
    return sum(each.works for each in loads) / max(each.seconds for each in loads)


def main() -> None:
    """Measure and write `ingest.json`."""
    one = [rate(loads) for loads in measured_loads(["1/1"], 1, _WORKS, RUNS)]
    two = [rate(loads) for loads in measured_loads(["1/2", "2/2"], 2, _WORKS, RUNS)]
    plain, alone = [], []
    for _ in range(RUNS):
        with running_index("ingest") as (running, index), tempfile.TemporaryDirectory() as directory:
            index.delete("plain")
            index.create("plain", corpus_of(1).width)
            plain.append(plain_client(running, "plain"))
            index.delete("plain")
            alone.append(engine_alone(Path(directory)))
    ((million,),) = measured_loads(["1/1"], 1, MILLION, 1)
    rows = [
        _row("one loader", one),
        _row("two loaders, two shards", two),
        _row("qdrant-client's own upsert", plain),
        _row("the engine alone, no gRPC", alone),
        _row("one loader, 1M works", [rate([million])]),
    ]
    figures = {
        "works_per_second": _figure(one, ">= 6500", "works a second of one loader"),
        "works_per_second_two": _figure(two, ">= 9000", "of two loaders into two shards"),
        "client_gib": Figure(
            million.bytes / _GIB, "GiB", target="<= 1", what="the loader's memory at its most, 1M works"
        ),
        "over_plain_client": Figure(
            statistics.median(one) / statistics.median(plain), what="one loader over qdrant-client's upsert"
        ),
        "over_engine_alone": Figure(
            statistics.median(one) / statistics.median(alone), what="one loader over the engine without gRPC"
        ),
    }
    plot_ingest(rows)
    write_result("ingest", COMMAND, SEED, figures, rows)
    for name, figure in figures.items():
        print(f"{name:24s} {figure.value:.4g} {figure.unit} (target {figure.target})")


def _figure(rates: list[float], target: str, what: str) -> Figure:
    return Figure(
        statistics.median(rates),
        "1/s",
        min(rates),
        max(rates),
        target=target,
        what=f"{what}, median of {RUNS}",
    )


def _row(name: str, rates: list[float]) -> dict[str, Any]:
    return {
        "loading": name,
        "works_per_second": statistics.median(rates),
        "least": min(rates),
        "most": max(rates),
        "runs": len(rates),
    }


if __name__ == "__main__":
    main()
