"""What an index of so many works takes: RAM, disk, time, by formulas whose constants were measured.

Sizes are in bytes; GB are 1e9 of them. Formulas count one copy of every work; replicas multiply them.
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
_NUMBER_BYTES = {Dtype.FLOAT32: 4, Dtype.FLOAT16: 2}
_CODE_BITS = {Quantization.INT8: 8.0, Quantization.TURBO4: 4.0, Quantization.BINARY: 1.0}
_MEASURED_FILE = "measured.json"


@dataclass(frozen=True)
class Measured:
    """Constants of the formulas, from `make bench-index` on the machine that it names.

    code_bytes: beside the codes themselves, by codes; graph_links: filled per work at m = 16, each of
    log2(works) bits; id_bytes, field_bytes, withdrawn_bytes, payload_overhead_bytes: per work;
    point_ram_bytes: what a work takes in memory beyond its files; segment_bytes, segment_ram_bytes: of each
    segment, whatever it holds; process_bytes: of the engine without works. p50_ms, recall, built_per_second
    (by one core, into the graph): by codes, of `measured_works` works; p50_decade, recall_decade: growth and
    loss with ten times the works. Sizes were measured up to `largest_works`.
    """

    machine: str
    measured_works: int
    largest_works: int
    code_bytes: Mapping[str, float]
    graph_links: float
    id_bytes: float
    field_bytes: float
    withdrawn_bytes: float
    payload_overhead_bytes: float
    point_ram_bytes: float
    segment_bytes: float
    segment_ram_bytes: float
    process_bytes: float
    p50_ms: Mapping[str, float]
    p50_decade: float
    recall: Mapping[str, float]
    recall_decade: float
    written_per_second: float
    built_per_second: Mapping[str, float]


@cache
def measured() -> Measured:
    """The constants that the package carries."""
    content: dict[str, Any] = json.loads((files("creditline.index") / _MEASURED_FILE).read_text())
    return Measured(**content)


@dataclass(frozen=True)
class Demand:
    """What is to be indexed. payload_bytes: of a work's texts and numbers, as JSON."""

    works: int
    dimension: int
    payload_bytes: float = 350.0

    def __post_init__(self) -> None:
        for name in ("works", "dimension", "payload_bytes"):
            if getattr(self, name) < 1:
                raise InvalidInput(f"{name} is {getattr(self, name)}; give 1 or more", field=name)


@dataclass(frozen=True)
class Part:
    """One thing that takes room. `formula` in words of its numbers; has_file: whether it is on disk too."""

    name: str
    place: Place
    bytes: float
    formula: str
    basis: Basis
    has_file: bool = True


@dataclass(frozen=True)
class Sizes:
    """All parts of an index, one copy of each work."""

    parts: tuple[Part, ...]

    @property
    def ram(self) -> float:
        """What must stay in memory."""
        return sum(part.bytes for part in self.parts if part.place == "RAM")

    @property
    def disk(self) -> float:
        """What is on disk: what stays in RAM is there too, but for what a process makes of it."""
        return sum(part.bytes for part in self.parts if part.has_file)


def sizes(demand: Demand, plan: IndexPlan, constants: Measured | None = None) -> Sizes:
    """The room that `demand` takes when it is laid out by `plan`."""
    known = constants or measured()
    ram_or_disk: Mapping[bool, Place] = {True: "disk", False: "RAM"}
    fields = _per_work(demand, "field indexes", ram_or_disk[plan.indexes_on_disk], known.field_bytes)
    payload = demand.payload_bytes + known.payload_overhead_bytes
    parts = (
        _vectors(demand, plan),
        *_codes(demand, plan, known),
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
    each = _NUMBER_BYTES[plan.dtype]
    place: Place = "disk" if plan.vectors_on_disk else "RAM"
    formula = f"works x {demand.dimension} x {each} B"
    return Part("whole vectors", place, demand.works * demand.dimension * each, formula, "computed")


def _codes(demand: Demand, plan: IndexPlan, known: Measured) -> tuple[Part, ...]:
    if plan.quantization is Quantization.NONE:
        return ()
    bits, beside = _CODE_BITS[plan.quantization], known.code_bytes[plan.quantization]
    formula = f"works x ({demand.dimension} x {bits:g} / 8 + {beside:g} B)"
    size = demand.works * (demand.dimension * bits / 8 + beside)
    return (Part(f"{plan.quantization} codes", "RAM", size, formula, "measured here"),)


def _graph(demand: Demand, plan: IndexPlan, known: Measured) -> Part:
    """Links are packed: each takes as many bits as a number of a segment's works."""
    in_segment = demand.works / (plan.shards * plan.segments)
    bits = max(math.ceil(math.log2(max(in_segment, 2.0))), 1)
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
