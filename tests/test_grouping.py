"""Tests of one room that share servers go to one worker."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.grouping import unit_of

_SOURCE = """
import pytest

@pytest.mark.parametrize("number", range(6))
def test_it(number: int) -> None:
    assert number < 6
"""


@pytest.mark.parametrize(
    ("nodeid", "unit"),
    [
        ("tests/gateway/test_keys.py::test_it[a::b/c]", "gateway"),
        ("tests/evaluation/lab/test_draws.py::test_it", "evaluation/lab"),
        ("tests/evaluation/test_lds.py::test_it", "evaluation/test_lds.py"),
        ("tests/test_release.py::test_it", "test_release.py"),
    ],
)
def test_a_unit_is_a_room_with_shared_fixtures_or_else_a_file(nodeid: str, unit: str) -> None:
    assert unit_of(nodeid) == unit


def test_a_room_stays_in_one_worker_while_other_files_go_to_both(tmp_path: Path) -> None:
    here = Path(__file__).parent
    for name in ("index/test_one.py", "index/test_two.py", "a/test_three.py", "b/test_four.py"):
        path = tmp_path / "tests" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(_SOURCE)
    (tmp_path / "tests" / "conftest.py").write_text((here / "grouping.py").read_text())
    command = [sys.executable, "-m", "pytest", "-v", "-n", "2", "-p", "no:cacheprovider", "tests"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120)
    assert "24 passed" in done.stdout, done.stdout + done.stderr
    ran = re.findall(r"\[(gw\d)\].* tests/(\w+)/test_", done.stdout)
    workers = {room: {worker for worker, where in ran if where == room} for room in ("index", "a", "b")}
    assert len(workers["index"]) == len(workers["a"]) == len(workers["b"]) == 1
    assert {worker for worker, _ in ran} == {"gw0", "gw1"}
