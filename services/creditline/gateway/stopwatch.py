"""Duration of each stage of an answer."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from creditline.api.answers import Timings
from creditline.observability.tracing import span

STAGES = ("check", "embed", "search", "share", "record")


class Stopwatch:
    """Measures the total time since its creation, and the time of named stages."""

    def __init__(self) -> None:
        self._started = time.perf_counter()
        self._seconds = dict.fromkeys(STAGES, 0.0)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add the duration of the block to the stage, also when the block fails."""
        started = time.perf_counter()
        try:
            with span(name):
                yield
        finally:
            self._seconds[name] += time.perf_counter() - started

    def seconds(self, stage: str) -> float:
        """Time of a stage so far, in seconds."""
        return self._seconds[stage]

    def timings(self) -> Timings:
        """Time of all stages and in total until now."""
        total = (time.perf_counter() - self._started) * 1e3
        return Timings(total, *(self._seconds[name] * 1e3 for name in STAGES))
