"""Duration of each stage of an answer."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from creditline.api.answers import Timings
from creditline.observability.tracing import span

STAGES = ("check", "embed", "search", "share", "record", "rerank")


class Stopwatch:
    """Measures the total time since its creation, and the time of named stages."""

    def __init__(self) -> None:
        self._started = time.perf_counter()
        self._seconds = dict.fromkeys(STAGES, 0.0)
        self._running: tuple[str, float] | None = None

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add the duration of the block to the stage, also when the block fails."""
        started = time.perf_counter()
        self._running = (name, started)
        try:
            with span(name):
                yield
        finally:
            self._running = None
            self._seconds[name] += time.perf_counter() - started

    def seconds(self, stage: str) -> float:
        """Time of a stage so far, in seconds."""
        return self._seconds[stage]

    def timings(self) -> Timings:
        """Time of all stages, of the one that runs too, and in total until now."""
        now, running = time.perf_counter(), self._running
        seconds = dict(self._seconds)
        if running is not None:
            seconds[running[0]] += now - running[1]
        return Timings((now - self._started) * 1e3, *(seconds[name] * 1e3 for name in STAGES))
