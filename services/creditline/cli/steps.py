"""Tells a person what is going on during steps that take long, in a terminal and in a log alike."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.text import Text

# How often a log without a spinner says that a step still runs.
_LOG_SECONDS = 10.0
_REFRESH_SECONDS = 0.5


class StepPrinter:
    """Announces numbered steps with their time; while one runs, `report` adds what happens in it."""

    def __init__(self, console: Console, steps: int, *, log_seconds: float = _LOG_SECONDS) -> None:
        self._console = console
        self._steps = steps
        self._log_seconds = log_seconds
        self._step = 0
        self._doing = ""

    def report(self, line: str) -> None:
        """One finished thing within the step."""
        self._console.print(Text(f"    {line}", style="dim"))

    def doing(self, what: str) -> None:
        """What the step is at now; shown beside the clock."""
        self._doing = what

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        """One step: its title at once, a running clock, and its seconds when it ends well."""
        self._step += 1
        self._doing = ""
        self._console.print(Text.assemble((f"{self._step}/{self._steps} ", "bold"), title))
        began = time.monotonic()
        ended = threading.Event()
        clock = threading.Thread(target=self._run_clock, args=(began, ended), daemon=True)
        clock.start()
        try:
            yield
        finally:
            ended.set()
            clock.join()
        self.report(f"done in {time.monotonic() - began:.1f} s")

    def _run_clock(self, began: float, ended: threading.Event) -> None:
        if self._console.is_terminal:
            with self._console.status("") as status:
                while not ended.wait(_REFRESH_SECONDS):
                    status.update(Text(self._clock_text(began), style="dim"))
        else:
            while not ended.wait(self._log_seconds):
                self.report(self._clock_text(began))

    def _clock_text(self, began: float) -> str:
        seconds = f"{time.monotonic() - began:.0f} s"
        return f"{self._doing}, {seconds}" if self._doing else seconds
