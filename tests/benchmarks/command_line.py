"""Measures what a person waits for: `creditline --help`, and `make demo` after installation.

Run `python -m tests.benchmarks.command_line` (a few minutes; it replaces what is in `demo/`).
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tests.benchmarks.result_files import REPOSITORY, Figure, write_result

COMMAND = "python -m tests.benchmarks.command_line"
HELP_RUNS = 11
DEMO_PROMPTS = ("", "a blue sign with an arrow")


def seconds_of(command: Sequence[str], **environment: str) -> float:
    """Wall-clock seconds of a command. Raises CalledProcessError when it fails."""
    began = time.perf_counter()
    subprocess.run(
        command,
        cwd=REPOSITORY,
        env={**os.environ, **environment},
        stdout=subprocess.DEVNULL,
        check=True,
    )
    return time.perf_counter() - began


def spread(seconds: Sequence[float], target: str, what: str) -> Figure:
    """The median with the least and the most."""
    return Figure(statistics.median(seconds), "s", min(seconds), max(seconds), target, what)


def main() -> None:
    creditline = str(Path(sys.executable).parent / "creditline")
    seconds_of([creditline, "--help"])
    helps = [seconds_of([creditline, "--help"]) for _ in range(HELP_RUNS)]
    demos = [seconds_of(["make", "demo"], PROMPT=prompt) for prompt in DEMO_PROMPTS]
    figures = {
        "help_seconds": spread(helps, "<= 0.3", "`creditline --help`, median and range of runs"),
        "demo_seconds": spread(demos, "<= 180", "`make demo` after installation, median and range of runs"),
    }
    rows = [{"part": "help", "seconds": value} for value in helps]
    rows += [{"part": "demo", "seconds": value} for value in demos]
    print(write_result("main-job", COMMAND, None, figures, rows, merge=True))


if __name__ == "__main__":
    main()
