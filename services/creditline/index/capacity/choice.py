"""Choice of an index layout: the fewest machines among the layouts with sufficient recall."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from creditline.errors import InvalidInput
from creditline.index.capacity.estimates import Demand, Measured, Sizes, measured, sizes
from creditline.index.plan import OVERSAMPLING, IndexPlan, Quantization

# Fraction of a machine's RAM for the index; the rest is for writes, segment merges and the page cache.
_USABLE_RAM = 0.85
# Default of the minimum recall@100; a layout below it is chosen only when no other is left.
LEAST_RECALL = 0.95
# A shard of up to about this size can be moved and rebuilt in reasonable time.
_WORKS_PER_SHARD = 50_000_000
_WORKS_PER_SEGMENT = 10_000_000
_SECONDS_PER_HOUR = 3600.0
# Latency of a random 4 KiB read from an NVMe disk, and number of concurrent reads. Assumed, not measured.
_READ_MS, _CONCURRENT_READS = 0.1, 16
_TOP_K = 100


@dataclass(frozen=True)
class Machines:
    """Resources of each machine of the cluster."""

    ram_bytes: float
    """RAM, in bytes."""
    cores: int = 8
    """Number of CPU cores."""
    disk_bytes: float | None = None
    """Disk space, in bytes; None: no limit."""


@dataclass(frozen=True)
class Option:
    """A layout with its resources and predicted figures.

    Latency and recall are extrapolated beyond the measured number of works.
    """

    plan: IndexPlan
    """The layout."""
    sizes: Sizes
    """Sizes of the parts of the index, for one copy of each work."""
    nodes: int
    """Number of machines."""
    ram: float
    """RAM of all machines together, including replicas, in bytes."""
    disk: float
    """Disk space of all machines together, including replicas, in bytes."""
    p50_ms: float
    """Median latency of a search for 100 works with everything in RAM, in milliseconds."""
    cold_ms: float
    """Additional latency when no full vector is in RAM, in milliseconds."""
    recall: float
    """Recall@100."""
    build_hours: float
    """Time to write all works and to build the graph, in hours."""


def options(
    demand: Demand,
    machines: Machines,
    *,
    replicas: int = 1,
    least_recall: float = LEAST_RECALL,
    constants: Measured | None = None,
) -> tuple[Option, ...]:
    """All layouts for a demand, best first.

    Layouts with sufficient recall come first, then those with fewer machines, higher recall, lower latency.

    Args:
        demand: What is to be indexed.
        machines: Resources of each machine.
        replicas: Number of copies of each work.
        least_recall: Recall@100 that counts as sufficient.
        constants: Constants of the formulas; None: those of the package.
    """
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
    """The first layout that fits the disks of the machines.

    Args:
        found: Layouts, best first.
        machines: Resources of each machine.

    Raises:
        InvalidInput: No layout fits.
    """
    for option in found:
        if machines.disk_bytes is None or option.disk / option.nodes <= machines.disk_bytes:
            return option
    least = min(option.disk / option.nodes for option in found)
    raise InvalidInput(
        f"no layout fits disks of {machines.disk_bytes or 0:.3g} bytes; each machine needs {least:.3g} bytes",
        field="budget_disk",
    )


def _plans(demand: Demand, replicas: int) -> Iterator[IndexPlan]:
    shards = max(math.ceil(demand.works / _WORKS_PER_SHARD), 1)
    segments = max(math.ceil(demand.works / shards / _WORKS_PER_SEGMENT), 2)
    layout = IndexPlan(shards=shards, segments=segments, replicas=replicas)
    for quantization in (Quantization.INT8, Quantization.TURBO4, Quantization.BINARY):
        for indexes, graph in ((False, False), (True, False), (True, True)):
            yield replace(layout, quantization=quantization, indexes_on_disk=indexes, graph_on_disk=graph)


def _option(demand: Demand, machines: Machines, plan: IndexPlan, known: Measured) -> Option:
    needed = sizes(demand, plan, known)
    ram, disk = needed.ram * plan.replicas, needed.disk * plan.replicas
    # Copies of a work are on different machines.
    nodes = max(math.ceil(ram / (machines.ram_bytes * _USABLE_RAM)), plan.replicas)
    shards = max(plan.shards, math.ceil(nodes / plan.replicas))
    decades = math.log10(max(demand.works, 1) / known.measured_works)
    shard_decades = math.log10(max(demand.works / shards, 1.0) / known.measured_works)
    rescored = _TOP_K * OVERSAMPLING[plan.quantization]
    reads = rescored + (0.0 if not plan.graph_on_disk else plan.search_ef)
    return Option(
        plan=replace(plan, shards=shards, write_consistency=plan.replicas // 2 + 1),
        sizes=needed,
        nodes=nodes,
        ram=ram,
        disk=disk,
        p50_ms=known.p50_ms[plan.quantization] * known.p50_decade**shard_decades,
        cold_ms=reads / _CONCURRENT_READS * _READ_MS,
        recall=min(known.recall[plan.quantization] - known.recall_decade * max(decades, 0.0), 1.0),
        build_hours=_build_seconds(demand, machines, plan, nodes, known) / _SECONDS_PER_HOUR,
    )


def _build_seconds(demand: Demand, machines: Machines, plan: IndexPlan, nodes: int, known: Measured) -> float:
    """Seconds to write all works with one loader per machine, and to build their graphs with all cores."""
    works = demand.works * plan.replicas / nodes
    return works / known.written_per_second + works / (
        known.built_per_second[plan.quantization] * machines.cores
    )
