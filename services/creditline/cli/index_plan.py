"""`creditline index plan`: capacity planning for an index of a given size, with a recommended layout."""

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
    works: Annotated[str, typer.Option(help="Number of works, such as 400M or 5B.")],
    dim: Annotated[int, typer.Option(help="Dimension of the vectors.")] = 256,
    budget_ram: Annotated[str, typer.Option(help="Memory of each machine, such as 128GB.")] = "64GB",
    budget_disk: Annotated[
        str | None, typer.Option(help="Disk of each machine, such as 2TB; no limit by default.")
    ] = None,
    cores: Annotated[int, typer.Option(help="CPU cores of each machine.", min=1)] = 8,
    replicas: Annotated[int, typer.Option(help="Number of copies of every work.", min=1)] = 1,
    recall: Annotated[float, typer.Option(help="Minimum recall of the nearest 100 works.")] = 0.95,
    payload_bytes: Annotated[float, typer.Option(help="Bytes of the metadata of one work.")] = 350.0,
    write: Annotated[
        Path | None,
        typer.Option(help="File to write the chosen plan to, for `index load` and `index ingest`."),
    ] = None,
    values: Annotated[
        Path | None,
        typer.Option(
            help="Directory to write a kustomize component to, with machines, memory, disk and plan."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")] = False,
) -> None:
    """Estimate memory, disk, machines, build time, latency and recall of each index layout."""
    from creditline.index.capacity.choice import Machines, best, options
    from creditline.index.capacity.estimates import Demand
    from creditline.index.capacity.values import write_component

    demand = Demand(round(number_of(works)), dim, payload_bytes)
    machines = Machines(number_of(budget_ram), cores, number_of(budget_disk) if budget_disk else None)
    found = options(demand, machines, replicas=replicas, least_recall=recall)
    chosen = best(found, machines)
    if as_json:
        # Rich would wrap long lines.
        print(json.dumps([_as_json(option, option is chosen) for option in found], indent=1))
    else:
        _console.print(_table(found, chosen))
        _console.print(_parts(chosen.sizes))
        _console.print(_notes(chosen, machines))
    if write is not None:
        write.write_text(chosen.plan.to_json() + "\n")
        _print_unless_json(as_json, f"{write}: the plan, for --plan or CREDITLINE_INDEX_PLAN")
    if values is not None:
        write_component(chosen, machines, values)
        _print_unless_json(
            as_json, f"{values}: a kustomize component, for `components` beside the base in k8s/"
        )


def number_of(text: str) -> float:
    """Parse a number with a unit, such as 400M, 5B, 128GB or 2TB; 1 GB is 1e9 bytes.

    Raises:
        InvalidInput: The text is not such a number.
    """
    from creditline.errors import InvalidInput

    match = _NUMBER.fullmatch(text.strip())
    if match is None:
        raise InvalidInput(f"{text!r} is not a number; write it like 400M, 5B or 128GB", field="works")
    return float(match[1]) * _UNITS[match[2].upper()]


def _print_unless_json(as_json: bool, line: str) -> None:
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
    for name in ("part", "where", "size", "formula", "basis"):
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
        f"\nChosen: {plan.shards} shards of {plan.segments} segments on {where}, {copies}; it needs the"
        " fewest machines of the layouts with sufficient recall.\n"
        f"Measured here: {known.machine}, up to {known.largest_works:,} works. Beyond that, values are"
        f" extrapolated: p50 grows by x{known.p50_decade:.2f} and recall falls by"
        f" {_PERCENT * known.recall_decade:.1f} points for ten times as many works.\n"
        "Cold: additional latency when no full vector is in memory; 0.1 ms per read and 16 parallel reads are"
        " assumed."
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
