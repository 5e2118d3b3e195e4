"""Finding processes by their command lines."""

from __future__ import annotations

import time
from pathlib import Path


def processes_naming(text: str) -> list[int]:
    """Ids of all processes whose command line contains `text`; zombies have no command line."""
    found = []
    for process in Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        try:
            command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if text in command:
            found.append(int(process.name))
    return found


def await_none_naming(text: str, *, seconds: float = 60.0) -> None:
    """Wait until no command line contains `text`; fails if processes remain."""
    deadline = time.monotonic() + seconds
    while left := processes_naming(text):
        assert time.monotonic() < deadline, f"processes {left} were left behind"
        time.sleep(0.05)
