"""Estimates of the RAM and disk space of an index, by formulas with measured constants.

Sizes are in bytes; 1 GB is 1e9 bytes. The formulas count one copy of each work; replicas multiply them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from typing import Any, Literal

from creditline.errors import InvalidInput
from creditline.index.plan import Dtype, IndexPlan, Quantization

Basis = Literal["computed", "measured here"]
Place = Literal["RAM", "disk"]
_DTYPE_BYTES = {Dtype.FLOAT32: 4, Dtype.FLOAT16: 2}
_QUANTIZED_BITS = {Quantization.INT8: 8.0, Quantization.TURBO4: 4.0, Quantization.BINARY: 1.0}
_MEASURED_FILE = "measured.json"


@dataclass(frozen=True)
class Measured:
    """Constants of the formulas, measured by `make bench-index`."""

    machine: str
    """The machine on which they were measured."""
    measured_works: int
    """Number of works for `p50_ms`, `recall` and `built_per_second`."""
    largest_works: int
    """Largest number of works for which sizes were measured."""
    code_bytes: Mapping[str, float]
    """Bytes per work beside the quantized vector itself, by quantization."""
    graph_links: float
    """Links per work that are filled at m = 16; each takes log2(works per segment) bits."""
    id_bytes: float
    """Bytes of the ids, per work."""
    field_bytes: float
    """Bytes of the field indexes except that of `withdrawn`, per work."""
    withdrawn_bytes: float
    """Bytes of the field index of `withdrawn`, per work."""
    payload_overhead_bytes: float
    """Bytes of the payload beyond its JSON, per work."""
    point_ram_bytes: float
    """RAM beyond the files, in bytes per work."""
    segment_bytes: float
    """Disk space of a segment whatever it holds, in bytes."""
    segment_ram_bytes: float
    """RAM of an open segment whatever it holds, in bytes."""
    process_bytes: float
    """RAM of the engine without works, in bytes."""
    p50_ms: Mapping[str, float]
    """Median latency of a search for 100 works in milliseconds, by quantization."""
    p50_decade: float
    """Factor of latency per tenfold number of works."""
    recall: Mapping[str, float]
    """Recall@100, by quantization."""
    recall_decade: float
    """Loss of recall per tenfold number of works."""
    written_per_second: float
    """Works written per second by one loader."""
    built_per_second: Mapping[str, float]
    """Works added to the graph per second and core, by quantization."""


@cache
def measured() -> Measured:
    """The constants shipped with the package."""
    content: dict[str, Any] = json.loads((files("creditline.index") / _MEASURED_FILE).read_text())
    return Measured(**content)


@dataclass(frozen=True)
class Demand:
    """Size of the data to be indexed.

    Raises:
        InvalidInput: A value is less than 1.
    """

    works: int
    """Number of works."""
    dimension: int
    """Dimension of the vectors."""
    payload_bytes: float = 350.0
    """Average size of a work's payload as JSON, in bytes."""

    def __post_init__(self) -> None:
        for name in ("works", "dimension", "payload_bytes"):
            if getattr(self, name) < 1:
                raise InvalidInput(f"{name} is {getattr(self, name)}; give 1 or more", field=name)


@dataclass(frozen=True)
class Part:
    """One part of an index that takes space."""

    name: str
    """Name of the part, as shown in the plan."""
    place: Place
    """Where the part is kept while the index runs."""
    bytes: float
    """Size, in bytes."""
    formula: str
    """The formula of the size with its numbers, as shown in the plan."""
    basis: Basis
    """Whether the formula's constants follow from the layout or were measured."""
    has_file: bool = True
    """Whether the part is stored on disk, also when it is kept in RAM."""


@dataclass(frozen=True)
class Sizes:
    """Sizes of all parts of an index with one copy of each work."""

    parts: tuple[Part, ...]
    """The parts."""

    @property
    def ram(self) -> float:
        """RAM that the index needs, in bytes."""
        return sum(part.bytes for part in self.parts if part.place == "RAM")

    @property
    def disk(self) -> float:
        """Disk space that the index needs, in bytes; most parts that are kept in RAM are on disk too."""
        return sum(part.bytes for part in self.parts if part.has_file)


def sizes(demand: Demand, plan: IndexPlan, constants: Measured | None = None) -> Sizes:
    """Sizes of an index.

    Args:
        demand: What is to be indexed.
        plan: The layout.
        constants: Constants of the formulas; None: those of the package.
    """
    known = constants or measured()
    ram_or_disk: Mapping[bool, Place] = {True: "disk", False: "RAM"}
    fields = _per_work(demand, "field indexes", ram_or_disk[plan.indexes_on_disk], known.field_bytes)
    payload = demand.payload_bytes + known.payload_overhead_bytes
    parts = (
        _vectors(demand, plan),
        *_quantized_vectors(demand, plan, known),
        _graph(demand, plan, known),
        _per_work(demand, "ids", "RAM", known.id_bytes),
        _per_work(demand, "withdrawn or not", "RAM", known.withdrawn_bytes),
        fields,
        _per_work(demand, "payload", ram_or_disk[plan.payload_on_disk], payload),
        _in_memory_only(_per_work(demand, "points' tables", "RAM", known.point_ram_bytes)),
        _fixed("segments", "disk", plan.shards * plan.segments, known.segment_bytes),
        _in_memory_only(_fixed("open segments", "RAM", plan.shards * plan.segments, known.segment_ram_bytes)),
        _in_memory_only(_fixed("process", "RAM", 1, known.process_bytes)),
    )
    return Sizes(parts)


def _vectors(demand: Demand, plan: IndexPlan) -> Part:
    each = _DTYPE_BYTES[plan.dtype]
    place: Place = "disk" if plan.vectors_on_disk else "RAM"
    formula = f"works x {demand.dimension} x {each} B"
    return Part("whole vectors", place, demand.works * demand.dimension * each, formula, "computed")


def _quantized_vectors(demand: Demand, plan: IndexPlan, known: Measured) -> tuple[Part, ...]:
    if plan.quantization is Quantization.NONE:
        return ()
    bits, overhead = _QUANTIZED_BITS[plan.quantization], known.code_bytes[plan.quantization]
    formula = f"works x ({demand.dimension} x {bits:g} / 8 + {overhead:g} B)"
    size = demand.works * (demand.dimension * bits / 8 + overhead)
    return (Part(f"{plan.quantization} codes", "RAM", size, formula, "measured here"),)


def _graph(demand: Demand, plan: IndexPlan, known: Measured) -> Part:
    """Links are bit-packed: each takes as many bits as the index of a work within its segment."""
    segment_works = demand.works / (plan.shards * plan.segments)
    bits = max(math.ceil(math.log2(max(segment_works, 2.0))), 1)
    links = known.graph_links * plan.graph_links / 16
    place: Place = "disk" if plan.graph_on_disk else "RAM"
    formula = f"works x {links:.1f} links x {bits} bits"
    return Part("graph", place, demand.works * links * bits / 8, formula, "measured here")


def _per_work(demand: Demand, name: str, place: Place, each: float) -> Part:
    return Part(name, place, demand.works * each, f"works x {each:.0f} B", "measured here")


def _in_memory_only(part: Part) -> Part:
    return replace(part, has_file=False)


def _fixed(name: str, place: Place, count: int, each: float) -> Part:
    return Part(name, place, count * each, f"{count} x {each / 1e6:.0f} MB", "measured here")
