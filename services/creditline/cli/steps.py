"""Progress output of long-running steps, for terminals and for logs."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.text import Text

# Interval of the messages in a log that a step is still running.
_LOG_SECONDS = 10.0
_REFRESH_SECONDS = 0.5


class StepPrinter:
    """Prints numbered steps with their durations, and lines about what happens in each step."""

    def __init__(self, console: Console, steps: int, *, log_seconds: float = _LOG_SECONDS) -> None:
        self._console = console
        self._steps = steps
        self._log_seconds = log_seconds
        self._step = 0
        self._doing = ""

    def report(self, line: str) -> None:
        """Print a line about something that was completed in the step."""
        self._console.print(Text(f"    {line}", style="dim"))

    def doing(self, what: str) -> None:
        """Set the step's current activity, which is shown beside the clock."""
        self._doing = what

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        """Run one step: print its title, show a running clock, and print its duration if it succeeds."""
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
