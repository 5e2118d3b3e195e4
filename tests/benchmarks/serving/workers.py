"""Worker processes that measure on request: a line asks for one measurement, a line of JSON is its answer."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

_STOP_SECONDS = 60.0


@dataclass(frozen=True, eq=False)
class Worker:
    """A process that embeds on request."""

    process: subprocess.Popen[str]
    """The process."""
    started: dict[str, Any]
    """What it said when it was ready; the vectors of the first items among it."""

    def rate(self, waiting: int, count: int) -> float:
        """Items per second with `waiting` callers."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{waiting} {count}\n")
        self.process.stdin.flush()
        return float(_answer(self.process)["per_second"])


@contextmanager
def worker(command: Sequence[str], environment: Mapping[str, str]) -> Iterator[Worker]:
    """A worker, until the block ends."""
    process = subprocess.Popen(
        command, env=dict(environment), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin is not None
    try:
        yield Worker(process, _answer(process))
    finally:
        process.stdin.close()
        process.wait(_STOP_SECONDS)


def _answer(process: subprocess.Popen[str]) -> dict[str, Any]:
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, "the worker ended; its standard error says why"
    answer: dict[str, Any] = json.loads(line)
    return answer
