"""Capacity planning: formulas, choice of a layout, deployment files; with the package's constants."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from creditline.errors import InvalidInput
from creditline.index import IndexPlan
from creditline.index.capacity.choice import Machines, best, options
from creditline.index.capacity.estimates import Demand, measured, sizes
from creditline.index.capacity.values import write_component
from creditline.index.plan import Quantization

_LAION = Demand(400_000_000, 256)
_MACHINE = Machines(128e9)


def _bytes(demand: Demand, plan: IndexPlan, name: str) -> float:
    (found,) = (part.bytes for part in sizes(demand, plan).parts if part.name == name)
    return found


def test_sizes_agree_with_a_calculation_by_hand() -> None:
    plan, constants = IndexPlan(shards=8, segments=4), measured()
    assert _bytes(_LAION, plan, "whole vectors") == 400e6 * 256 * 2
    assert _bytes(_LAION, plan, "int8 codes") == 400e6 * (256 + constants.code_bytes["int8"])
    # 12.5 M works in a segment: 24 bits name each of them.
    assert _bytes(_LAION, plan, "graph") == pytest.approx(400e6 * constants.graph_links * 24 / 8)
    assert _bytes(_LAION, plan, "ids") == 400e6 * constants.id_bytes


def test_quantization_with_fewer_bits_takes_less_memory() -> None:
    by_bits = [
        _bytes(_LAION, IndexPlan(quantization=kind), f"{kind} codes")
        for kind in (Quantization.INT8, Quantization.TURBO4, Quantization.BINARY)
    ]
    assert by_bits == sorted(by_bits, reverse=True)
    assert by_bits[2] < by_bits[0] / 7


def test_indexes_on_disk_take_no_memory_and_the_same_disk_space() -> None:
    kept, moved = sizes(_LAION, IndexPlan()), sizes(_LAION, IndexPlan(indexes_on_disk=True))
    assert kept.ram - moved.ram == pytest.approx(400e6 * measured().field_bytes)
    assert kept.disk == pytest.approx(moved.disk)


def test_the_choice_has_sufficient_recall_on_the_fewest_machines() -> None:
    found = options(_LAION, _MACHINE, least_recall=0.95)
    enough = [option for option in found if option.recall >= 0.95]
    fewest = [option for option in enough if option.nodes == min(each.nodes for each in enough)]
    assert best(found, _MACHINE) is max(fewest, key=lambda option: option.recall)


def test_a_lower_recall_needs_fewer_machines() -> None:
    found = options(_LAION, _MACHINE, least_recall=0.5)
    assert best(found, _MACHINE).nodes == min(option.nodes for option in found)
    assert all(option.ram <= option.nodes * 128e9 * 0.85 for option in found)


def test_every_copy_is_on_its_own_machine_and_a_majority_must_acknowledge() -> None:
    chosen = best(options(Demand(1_000_000, 256), _MACHINE, replicas=3), _MACHINE)
    assert chosen.nodes == 3
    assert (chosen.plan.replicas, chosen.plan.write_consistency) == (3, 2)


def test_the_error_for_disks_that_are_too_small_gives_the_size_needed() -> None:
    machines = replace(_MACHINE, disk_bytes=1e9)
    with pytest.raises(InvalidInput, match="each machine needs"):
        best(options(_LAION, machines), machines)


def test_more_works_take_more_of_everything() -> None:
    small, large = (best(options(Demand(works, 256), _MACHINE), _MACHINE) for works in (10**8, 10**9))
    assert large.ram > small.ram
    assert large.disk > 9 * small.disk
    assert large.nodes > small.nodes
    assert large.build_hours > small.build_hours
    assert large.recall <= small.recall


def test_a_demand_of_no_works_is_refused() -> None:
    with pytest.raises(InvalidInput, match="works is 0"):
        Demand(0, 256)


def test_the_component_carries_machines_and_plan(tmp_path: Path) -> None:
    chosen = best(options(_LAION, _MACHINE), _MACHINE)
    write_component(chosen, _MACHINE, tmp_path / "planned")
    written = {path.name: json.loads(path.read_text()) for path in (tmp_path / "planned").iterdir()}
    assert written["qdrant.yaml"]["spec"]["replicas"] == chosen.nodes
    assert IndexPlan.from_json((tmp_path / "planned" / "plan.json").read_text()) == chosen.plan
    assert ("peers.yaml" in written) == (chosen.nodes > 1)
