"""Fits the constants of the capacity formulas and holds the formulas against what is measured.

Run `python -m tests.benchmarks.index.capacity` after those of quality and ingest, on a quiet machine (about
15 minutes on 2 cores). Writes `capacity.json` and the constants that the package carries.
"""

from __future__ import annotations

import json
import math
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

import creditline.index
from creditline.index.capacity.choice import Machines, options
from creditline.index.capacity.estimates import Demand, Measured, sizes
from creditline.index.plan import Quantization
from creditline.index.points import point_id
from tests.benchmarks.index.engines import DEPTH, BareEdge, copied_shard
from tests.benchmarks.index.footprint import Footprint, in_memory, on_disk
from tests.benchmarks.index.ingest import payload_of
from tests.benchmarks.index.running import (
    MILLION,
    PLAN,
    SEED,
    SIZES,
    WORKPLACE,
    corpus_of,
    features_of,
    filled,
    load,
    running_index,
)
from tests.benchmarks.index.truth import nearest, recall
from tests.benchmarks.result_files import (
    RESULTS_DIRECTORY,
    Figure,
    describe_machine,
    read_result,
    write_result,
)

COMMAND = "python -m tests.benchmarks.index.capacity"
_CODES_WORKS = 100_000
_QUERIES = 300
_CORES = 2
_GB = 1e9
_DEMANDS = ((400_000_000, 128e9), (5_000_000_000, 512e9))
_CONSTANTS = Path(creditline.index.__file__).parent / "measured.json"


@dataclass(frozen=True)
class Found:
    """One collection: bytes on disk by kind, and bytes of memory that its process must hold."""

    works: int
    disk: Footprint
    ram: int


def measure(works: int) -> Found:
    """A collection alone in a process that was started anew and has answered queries."""
    _take_from_quality(works)
    with running_index(f"capacity-{works}") as (running, index):
        filled(running, index, works)
    with running_index(f"capacity-{works}") as (running, index):
        queries = corpus_of(1).queries(_QUERIES)
        index.nearest(f"works-{works}", queries, DEPTH)
        ram, _ = in_memory(running.process.pid)
        disk = on_disk(WORKPLACE / f"capacity-{works}" / "collections")
    return Found(works, disk, ram)


def _take_from_quality(works: int) -> None:
    """A copy of what the quality benchmark built, where it has: building takes minutes."""
    built = WORKPLACE / "quality" / "collections" / f"works-{works}"
    own = WORKPLACE / f"capacity-{works}" / "collections" / built.name
    if built.is_dir() and not own.exists():
        shutil.copytree(built, own)


def empty_process() -> int:
    """Bytes of a process that serves no collection."""
    with running_index("capacity-empty") as (running, index):
        index.collections()
        return in_memory(running.process.pid)[0]


@dataclass(frozen=True)
class OfCodes:
    """One kind of codes on 100,000 works."""

    p50_ms: float
    recall: float
    built_per_second: float
    code_bytes: float


def measure_codes(quantization: Quantization) -> OfCodes:
    """Built anew, so that the time of it is known."""
    plan, name, corpus = (
        replace(PLAN, quantization=quantization),
        f"codes-{quantization}",
        corpus_of(_CODES_WORKS),
    )
    with running_index("codes", plan) as (running, index):
        index.delete(name)
        index.create(name, corpus.width)
        load(running, features_of(_CODES_WORKS), name, ["1/1"])
        began = time.perf_counter()
        index.optimize(name)
        seconds = time.perf_counter() - began
        shard = copied_shard(WORKPLACE / "codes", name)
    queries = corpus.queries(_QUERIES)
    truth = [
        {point_id(corpus.work_id(number)) for number in row}
        for row in nearest(corpus, queries, DEPTH).tolist()
    ]
    bare = BareEdge(shard, quantization=quantization)
    found, taken = [], []
    for query in queries.tolist() * 2:
        began = time.perf_counter()
        found.append(set(bare.nearest(query, plan.search_ef)))
        taken.append(time.perf_counter() - began)
    bare.close()
    bits = {Quantization.INT8: 8, Quantization.TURBO4: 4, Quantization.BINARY: 1}[quantization]
    beside = on_disk(shard).by_kind["codes"] / _CODES_WORKS - corpus.width * bits / 8
    return OfCodes(
        p50_ms=float(np.median(taken[_QUERIES:]) * 1000.0),
        recall=float(recall(found[_QUERIES:], truth).mean()),
        built_per_second=_CODES_WORKS / seconds / _CORES,
        code_bytes=max(round(beside), 0),
    )


def mean_payload() -> float:
    """Bytes of a work's payload as JSON."""
    points = corpus_of(10_000).points()
    return float(
        np.mean([len(json.dumps(payload_of(point), ensure_ascii=False).encode()) for point in points])
    )


def fitted(
    found: Mapping[int, Found], process: int, by_codes: Mapping[Quantization, OfCodes], payload: float
) -> Measured:
    """Constants per work from the largest collection, per segment from the smallest; 100,000 is left over."""
    large, small = found[MILLION], found[SIZES[0]]
    kinds = {name: size / large.works for name, size in large.disk.by_kind.items()}
    bits = math.ceil(math.log2(large.works / PLAN.segments))
    speed = read_result(RESULTS_DIRECTORY / "index.json")
    ingest = read_result(RESULTS_DIRECTORY / "ingest.json")
    layer = {row["works"]: row for row in speed.rows if row["engine"] == "our layer"}
    decades = math.log10(MILLION / SIZES[0])
    per_work = sum(
        kinds[name] for name in ("vectors", "codes", "graph", "ids", "withdrawn", "fields", "payload")
    )
    known = Measured(
        machine=describe_machine(),
        measured_works=_CODES_WORKS,
        largest_works=MILLION,
        code_bytes={quantization.value: each.code_bytes for quantization, each in by_codes.items()},
        graph_links=kinds["graph"] * 8 / bits,
        id_bytes=kinds["ids"],
        field_bytes=kinds["fields"],
        withdrawn_bytes=kinds["withdrawn"],
        payload_overhead_bytes=kinds["payload"] - payload,
        point_ram_bytes=0.0,
        segment_bytes=max(small.disk.total - per_work * small.works, 0.0) / PLAN.segments,
        segment_ram_bytes=0.0,
        process_bytes=float(process),
        p50_ms={quantization.value: each.p50_ms for quantization, each in by_codes.items()},
        p50_decade=(layer[MILLION]["bare_p50_ms"] / layer[SIZES[0]]["bare_p50_ms"]) ** (1 / decades),
        recall={quantization.value: each.recall for quantization, each in by_codes.items()},
        recall_decade=max((layer[SIZES[0]]["recall100"] - layer[MILLION]["recall100"]) / decades, 0.0),
        written_per_second=ingest.figures["works_per_second"].value,
        built_per_second={
            quantization.value: each.built_per_second for quantization, each in by_codes.items()
        },
    )
    return _with_memory(known, small, large, payload)


def _with_memory(known: Measured, small: Found, large: Found, payload: float) -> Measured:
    """What is in memory beyond the files, per work and per segment: from the smallest and largest size."""
    beyond = [
        found.ram - sizes(Demand(found.works, corpus_of(1).width, payload), PLAN, known).ram
        for found in (small, large)
    ]
    each = max((beyond[1] - beyond[0]) / (large.works - small.works), 0.0)
    return replace(
        known,
        point_ram_bytes=each,
        segment_ram_bytes=max(beyond[0] - each * small.works, 0.0) / PLAN.segments,
    )


def compared(found: Mapping[int, Found], constants: Measured, payload: float) -> Iterator[dict[str, Any]]:
    """Predicted beside measured, size by size."""
    for works, each in found.items():
        predicted = sizes(Demand(works, corpus_of(1).width, payload), PLAN, constants)
        yield {
            "works": works,
            "disk_gb": each.disk.total / _GB,
            "disk_predicted_gb": predicted.disk / _GB,
            "disk_error": abs(predicted.disk / each.disk.total - 1.0),
            "ram_gb": each.ram / _GB,
            "ram_predicted_gb": predicted.ram / _GB,
            "ram_error": abs(predicted.ram / each.ram - 1.0),
            **{f"disk_{kind}": size for kind, size in sorted(each.disk.by_kind.items())},
        }


def planned(constants: Measured) -> Iterator[dict[str, Any]]:
    """What the planner says of 400 M and of 5 B works."""
    for works, ram in _DEMANDS:
        for option in options(Demand(works, 256), Machines(ram, cores=16), constants=constants):
            if not option.plan.graph_on_disk:
                yield {
                    "planned_works": works,
                    "codes": option.plan.quantization.value,
                    "indexes": "disk" if option.plan.indexes_on_disk else "RAM",
                    "machine_gb": ram / _GB,
                    "machines": option.nodes,
                    "shards": option.plan.shards,
                    "planned_ram_gb": option.ram / _GB,
                    "planned_disk_gb": option.disk / _GB,
                    "p50_ms": option.p50_ms,
                    "recall100": option.recall,
                    "build_hours": option.build_hours,
                }


def main() -> None:
    """Measure, fit, compare and write."""
    found = {works: measure(works) for works in SIZES}
    by_codes = {
        quantization: measure_codes(quantization)
        for quantization in (Quantization.INT8, Quantization.TURBO4, Quantization.BINARY)
    }
    payload = mean_payload()
    constants = fitted(found, empty_process(), by_codes, payload)
    rows = list(compared(found, constants, payload))
    figures = {
        name: Figure(
            max(row[name] for row in rows),
            target="<= 0.2",
            what=f"{what} predicted against measured at 10,000, 100,000 and 1M works, the largest error",
        )
        for name, what in (("disk_error", "disk"), ("ram_error", "memory"))
    }
    _CONSTANTS.write_text(json.dumps(asdict(constants), indent=1) + "\n")
    codes_rows = [
        {"codes": quantization.value, "works": _CODES_WORKS, **asdict(each)}
        for quantization, each in by_codes.items()
    ]
    write_result("capacity", COMMAND, SEED, figures, [*rows, *codes_rows, *planned(constants)])
    for name, figure in figures.items():
        print(f"{name:12s} {figure.value:.3f} (target {figure.target})")


if __name__ == "__main__":
    main()
