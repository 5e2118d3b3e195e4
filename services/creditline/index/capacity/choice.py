"""Which layout to choose for an index: of those that find enough, the one with the fewest machines."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from creditline.errors import InvalidInput
from creditline.index.capacity.estimates import Demand, Measured, Sizes, measured, sizes
from creditline.index.plan import OVERSAMPLING, IndexPlan, Quantization

# Of a machine's memory, what an index may take: the rest is for writes, merging segments and the page cache.
_USABLE = 0.85
# Of the nearest 100 works, what a layout must find to be chosen before one with fewer machines.
LEAST_RECALL = 0.95
# One shard can be moved and rebuilt in reasonable time up to about so many works.
_WORKS_A_SHARD = 50_000_000
_WORKS_A_SEGMENT = 10_000_000
_SECONDS_AN_HOUR = 3600.0
# A random read of 4 KiB from an NVMe disk, and how many go on at once. Not measured here.
_READ_MS, _READS_AT_ONCE = 0.1, 16
_LISTED = 100


@dataclass(frozen=True)
class Machines:
    """What every machine has for its part of the index. disk_bytes: None when it is not to be looked at."""

    ram_bytes: float
    cores: int = 8
    disk_bytes: float | None = None


@dataclass(frozen=True)
class Option:
    """One layout with all that it takes; ram and disk of all machines together, with replicas.

    p50_ms: of the best 100 of the whole index, everything in memory; cold_ms: what is added when no whole
    vector is. Both are extrapolated from 1M works beyond that. build_hours: to write and to build the graph.
    """

    plan: IndexPlan
    sizes: Sizes
    nodes: int
    ram: float
    disk: float
    p50_ms: float
    cold_ms: float
    recall: float
    build_hours: float


def options(
    demand: Demand,
    machines: Machines,
    *,
    replicas: int = 1,
    least_recall: float = LEAST_RECALL,
    constants: Measured | None = None,
) -> tuple[Option, ...]:
    """All layouts, the best first: those that find enough, then fewest machines, most found, the fastest."""
    known = constants or measured()
    found = [_option(demand, machines, plan, known) for plan in _plans(demand, replicas)]
    return tuple(
        sorted(
            found,
            key=lambda option: (
                option.recall < least_recall,
                option.nodes,
                -option.recall,
                option.p50_ms,
            ),
        )
    )


def best(found: Sequence[Option], machines: Machines) -> Option:
    """The first that fits the machines' disks. Raises InvalidInput when none does."""
    for option in found:
        if machines.disk_bytes is None or option.disk / option.nodes <= machines.disk_bytes:
            return option
    least = min(option.disk / option.nodes for option in found)
    raise InvalidInput(
        f"no layout fits disks of {machines.disk_bytes or 0:.3g} bytes; each machine needs {least:.3g}",
        field="budget_disk",
    )


def _plans(demand: Demand, replicas: int) -> Iterator[IndexPlan]:
    shards = max(math.ceil(demand.works / _WORKS_A_SHARD), 1)
    segments = max(math.ceil(demand.works / shards / _WORKS_A_SEGMENT), 2)
    layout = IndexPlan(shards=shards, segments=segments, replicas=replicas)
    for quantization in (Quantization.INT8, Quantization.TURBO4, Quantization.BINARY):
        for indexes, graph in ((False, False), (True, False), (True, True)):
            yield replace(layout, quantization=quantization, indexes_on_disk=indexes, graph_on_disk=graph)


def _option(demand: Demand, machines: Machines, plan: IndexPlan, known: Measured) -> Option:
    taken = sizes(demand, plan, known)
    ram, disk = taken.ram * plan.replicas, taken.disk * plan.replicas
    # A work's copies are on different machines.
    nodes = max(math.ceil(ram / (machines.ram_bytes * _USABLE)), plan.replicas)
    shards = max(plan.shards, math.ceil(nodes / plan.replicas))
    decades = math.log10(max(demand.works, 1) / known.measured_works)
    in_shard = math.log10(max(demand.works / shards, 1.0) / known.measured_works)
    rescored = _LISTED * OVERSAMPLING[plan.quantization]
    reads = rescored + (0.0 if not plan.graph_on_disk else plan.search_ef)
    return Option(
        plan=replace(plan, shards=shards, write_consistency=plan.replicas // 2 + 1),
        sizes=taken,
        nodes=nodes,
        ram=ram,
        disk=disk,
        p50_ms=known.p50_ms[plan.quantization] * known.p50_decade**in_shard,
        cold_ms=reads / _READS_AT_ONCE * _READ_MS,
        recall=min(known.recall[plan.quantization] - known.recall_decade * max(decades, 0.0), 1.0),
        build_hours=_build_seconds(demand, machines, plan, nodes, known) / _SECONDS_AN_HOUR,
    )


def _build_seconds(demand: Demand, machines: Machines, plan: IndexPlan, nodes: int, known: Measured) -> float:
    """To write all works, one loader a machine, and to build their graphs with all cores."""
    works = demand.works * plan.replicas / nodes
    return works / known.written_per_second + works / (
        known.built_per_second[plan.quantization] * machines.cores
    )
