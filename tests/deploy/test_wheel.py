"""The wheel holds what the source tree holds: the fast core of `make check-images`."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.deploy.wheel import build_wheel, contents, tracked_files

_SOURCE_ROOT = "services/"
# Files of the source tree that the wheel does not have, and why.
LEFT_OUT: dict[str, str] = {}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(tmp_path_factory.mktemp("wheel"))


def test_every_file_of_the_source_tree_is_in_the_wheel(wheel: Path) -> None:
    source = {name.removeprefix(_SOURCE_ROOT) for name in tracked_files("services/creditline")}
    assert "creditline/corpus/openclipart.parquet" in source
    assert sorted(source - contents(wheel) - set(LEFT_OUT)) == []


def test_the_wheel_holds_nothing_beside_the_source_tree_and_its_own_description(wheel: Path) -> None:
    source = {name.removeprefix(_SOURCE_ROOT) for name in tracked_files("services/creditline")}
    others = {name for name in contents(wheel) - source if ".dist-info/" not in name}
    assert sorted(others) == []


def test_files_that_are_left_out_still_exist() -> None:
    source = {name.removeprefix(_SOURCE_ROOT) for name in tracked_files("services/creditline")}
    assert set(LEFT_OUT) <= source
