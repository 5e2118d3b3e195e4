"""`creditline index plan`: what an index of so many works takes, and which layout to choose."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from creditline.index.capacity.choice import Machines, Option
    from creditline.index.capacity.estimates import Sizes

_console = Console(soft_wrap=True, highlight=False)
_UNITS = {"": 1.0, "K": 1e3, "M": 1e6, "B": 1e9, "G": 1e9, "T": 1e12}
_NUMBER = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?([KMBGT]?)(B?)", re.IGNORECASE)
_PERCENT = 100.0


def plan(
    works: Annotated[str, typer.Option(help="How many works, e.g. 400M or 5B.")],
    dim: Annotated[int, typer.Option(help="Dimension of the vectors.")] = 256,
    budget_ram: Annotated[str, typer.Option(help="Memory of each machine, e.g. 128GB.")] = "64GB",
    budget_disk: Annotated[str | None, typer.Option(help="Disk of each machine, e.g. 2TB.")] = None,
    cores: Annotated[int, typer.Option(help="Of each machine.", min=1)] = 8,
    replicas: Annotated[int, typer.Option(help="Copies of every work.", min=1)] = 1,
    recall: Annotated[float, typer.Option(help="Of the nearest 100, what must be found.")] = 0.95,
    payload_bytes: Annotated[float, typer.Option(help="Texts and numbers of one work.")] = 350.0,
    write: Annotated[
        Path | None, typer.Option(help="Write the chosen plan, for `index load` and `index ingest`.")
    ] = None,
    values: Annotated[
        Path | None, typer.Option(help="A directory for a kustomize component: machines, memory, disk, plan.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")] = False,
) -> None:
    """RAM, disk, machines, hours and what to expect, for each way to lay an index out."""
    from creditline.index.capacity.choice import Machines, best, options
    from creditline.index.capacity.estimates import Demand
    from creditline.index.capacity.values import write_component

    demand = Demand(round(number_of(works)), dim, payload_bytes)
    machines = Machines(number_of(budget_ram), cores, number_of(budget_disk) if budget_disk else None)
    found = options(demand, machines, replicas=replicas, least_recall=recall)
    chosen = best(found, machines)
    if as_json:
        # Not through rich: it would break long lines.
        print(json.dumps([_as_json(option, option is chosen) for option in found], indent=1))
    else:
        _console.print(_table(found, chosen))
        _console.print(_parts(chosen.sizes))
        _console.print(_notes(chosen, machines))
    if write is not None:
        write.write_text(chosen.plan.to_json() + "\n")
        _report(as_json, f"{write}: the plan, for --plan or CREDITLINE_INDEX_PLAN")
    if values is not None:
        write_component(chosen, machines, values)
        _report(as_json, f"{values}: a kustomize component, for `components` beside the base in k8s/")


def number_of(text: str) -> float:
    """400M, 5B, 128GB, 2TB as numbers; GB are 1e9 bytes. Raises InvalidInput."""
    from creditline.errors import InvalidInput

    match = _NUMBER.fullmatch(text.strip())
    if match is None:
        raise InvalidInput(f"{text!r} is no number; write it like 400M, 5B or 128GB", field="works")
    return float(match[1]) * _UNITS[match[2].upper()]


def _report(as_json: bool, line: str) -> None:
    if not as_json:
        _console.print(line)


def _table(found: tuple[Option, ...], chosen: Option) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in (
        "",
        "quantization",
        "on disk",
        "RAM",
        "disk",
        "machines",
        "p50",
        "cold",
        "recall@100",
        "build",
    ):
        table.add_column(name, justify="left" if name in ("", "quantization", "on disk") else "right")
    for option in found:
        plan = option.plan
        also = [("indexes", plan.indexes_on_disk), ("graph", plan.graph_on_disk)]
        table.add_row(
            "→" if option is chosen else "",
            plan.quantization.value,
            ", ".join(name for name, there in also if there) or "-",
            _size(option.ram),
            _size(option.disk),
            str(option.nodes),
            f"{option.p50_ms:.1f} ms",
            f"+{option.cold_ms:.1f} ms",
            f"{_PERCENT * option.recall:.1f} %",
            f"{option.build_hours:.1f} h",
            style="bold" if option is chosen else None,
        )
    return table


def _parts(sizes: Sizes) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in ("what takes room", "where", "size", "formula", "basis"):
        table.add_column(name, justify="right" if name == "size" else "left")
    for part in sizes.parts:
        table.add_row(part.name, part.place, _size(part.bytes), part.formula, part.basis)
    return table


def _notes(chosen: Option, machines: Machines) -> str:
    from creditline.index.capacity.estimates import measured

    known, plan = measured(), chosen.plan
    where = f"{chosen.nodes} {'machine' if chosen.nodes == 1 else 'machines'} of {_size(machines.ram_bytes)}"
    copies = f"{plan.replicas} {'copy' if plan.replicas == 1 else 'copies'}"
    return (
        f"\nChosen: {plan.shards} shards of {plan.segments} segments on {where}, {copies}; of the layouts"
        " that find enough the one with the fewest machines.\n"
        f"Measured here: {known.machine}, up to {known.largest_works:,} works. Beyond that p50 grows by"
        f" x{known.p50_decade:.2f} and recall falls by {_PERCENT * known.recall_decade:.1f} points with ten"
        " times the works: extrapolated.\n"
        "Cold: what is added when no whole vector is in memory, 0.1 ms a read and 16 at once: assumed."
    )


def _size(size: float) -> str:
    for unit, factor in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if size >= factor:
            return f"{size / factor:,.1f} {unit}"
    return f"{size:,.0f} B"


def _as_json(option: Option, chosen: bool) -> dict[str, Any]:
    return {
        "chosen": chosen,
        "plan": json.loads(option.plan.to_json()),
        "nodes": option.nodes,
        "ram_bytes": option.ram,
        "disk_bytes": option.disk,
        "p50_ms": option.p50_ms,
        "cold_ms": option.cold_ms,
        "recall100": option.recall,
        "build_hours": option.build_hours,
        "parts": [vars(part) for part in option.sizes.parts],
    }
