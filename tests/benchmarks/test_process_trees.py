"""Processor time and memory of a process tree: of those that run, and of those that have ended."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.benchmarks.process_trees import tree, tree_mib, tree_seconds

# A process whose child, already ended, has worked for a while, and that holds memory itself.
_PROGRAM = """
import subprocess, sys
subprocess.run([sys.executable, "-c", "import time\\nwhile time.process_time() < 0.3: pass"])
held = bytearray(b"x" * (64 << 20))
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def program() -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-c", _PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process


def test_the_time_of_ended_children_counts(program: subprocess.Popen[str]) -> None:
    assert tree(program.pid) == [program.pid]
    assert 0.3 <= tree_seconds(program.pid) < 30.0


def test_memory_is_that_of_the_whole_tree(program: subprocess.Popen[str]) -> None:
    assert 64.0 < tree_mib(program.pid) < 200.0
    assert program.pid in tree(os.getpid())
    assert tree_mib(os.getpid()) > tree_mib(program.pid)


def test_a_process_that_has_ended_has_neither(program: subprocess.Popen[str]) -> None:
    program.communicate()
    assert (tree_seconds(program.pid), tree_mib(program.pid)) == (0.0, 0.0)
