"""Which tests run in the same worker, and in what order the workers take them (`make test` starts several).

A worker makes session fixtures for itself. Rooms whose files share a running stack or a trained model
therefore stay together; elsewhere a file is a unit. The longest units come first, so that the workers end
together.
"""

from __future__ import annotations

from pathlib import Path

import pytest

_TESTS = Path(__file__).parent
# Rooms that share an expensive session fixture, and units that take longer than ten seconds; longest first.
_ROOMS = ("evaluation/lab", "gateway", "teacher", "embedder", "index")
_LONGEST_FIRST = (
    *("evaluation/lab", "gateway", "teacher", "e2e/test_main_job.py", "distillation/test_pipeline.py"),
    *("embedder", "index", "local/test_qdrant_snapshots.py", "cli/test_demo.py", "local/test_stack.py"),
    *("cli/test_index.py", "local/test_qdrant.py", "cli/test_lab.py", "local/test_qdrant_as_in_memory.py"),
)


def pytest_configure(config: pytest.Config) -> None:
    """The mark is xdist's; tests are named so too where xdist is not installed."""
    config.addinivalue_line("markers", "xdist_group(name): the unit of tests that stay in one worker")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Name each test's unit for `--dist loadgroup`, and sort the units; tests of a unit keep their order."""
    ranks = {unit: rank for rank, unit in enumerate(_LONGEST_FIRST)}
    for item in items:
        item.add_marker(pytest.mark.xdist_group(_unit(item)))
    items.sort(key=lambda item: ranks.get(_unit(item), len(ranks)))


def _unit(item: pytest.Item) -> str:
    """The room, or else the file, as a path under `tests`."""
    place = item.path.relative_to(_TESTS).as_posix() if item.path.is_relative_to(_TESTS) else item.path.name
    return next((room for room in _ROOMS if place.startswith(f"{room}/")), place)
