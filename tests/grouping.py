"""Which tests run in the same worker, and in what order the workers take them (`make test` starts several).

A worker makes session fixtures for itself. Rooms whose files share a running stack or a trained model
therefore stay together; elsewhere a file is a unit. The longest units come first, so that the workers end
together.

The units are given to xdist by a scheduler, not by its `xdist_group` marks: pytest-xdist 3.8.0 writes the
group into an attribute that pytest 9.2.0 does not read any more, and then silently sends tests anywhere.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from xdist.scheduler import LoadScopeScheduling

_TESTS = Path(__file__).parent
# Rooms that share an expensive session fixture, and units that take longer than ten seconds; longest first.
_ROOMS = ("evaluation/lab", "gateway", "teacher", "embedder", "index")
_LONGEST_FIRST = (
    "gateway",
    "evaluation/lab",
    "teacher",
    "index",
    "cli/test_index.py",
    "e2e/test_main_job.py",
    "local/test_stack.py",
    "attribution/test_one_device.py",
    "embedder",
    "cli/test_demo.py",
    "faults/test_lost_replies.py",
    "local/qdrant/test_server.py",
    "local/qdrant/test_snapshots.py",
    "distillation/test_pipeline.py",
    "towers/test_timm_tower.py",
    "attribution/test_finite_scores.py",
    "attribution/unlearning/test_methods.py",
    "local/qdrant/test_shards.py",
    "faults/test_killed_ingest.py",
    "distillation/training/test_fitting.py",
    "benchmarks/bring/test_spellings.py",
    "faults/test_killed_switch.py",
    "faults/test_promotions.py",
    "generator/test_pipeline_directories.py",
    "cli/test_lab.py",
    "local/qdrant/test_as_in_memory.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sort the units; tests of a unit keep their order."""
    ranks = {unit: rank for rank, unit in enumerate(_LONGEST_FIRST)}
    items.sort(key=lambda item: ranks.get(unit_of(item.nodeid), len(ranks)))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    """Whole units, in the order of the collection."""
    from xdist.scheduler import LoadScopeScheduling

    class UnitScheduling(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return unit_of(nodeid)

    config.option.loadscopereorder = False
    return UnitScheduling(config, log)


def unit_of(nodeid: str) -> str:
    """The room, or else the file, as a path under `tests`."""
    place = nodeid.split("::", 1)[0].removeprefix(f"{_TESTS.name}/")
    return next((room for room in _ROOMS if place.startswith(f"{room}/")), place)
