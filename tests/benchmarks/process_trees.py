"""Processor time and memory of a process with all processes below it, as Linux counts them."""

from __future__ import annotations

import os
from pathlib import Path

_MIB = 1 << 20
_TICKS = os.sysconf("SC_CLK_TCK")
# Positions in /proc/PID/stat after the command's name: utime, stime, cutime, cstime.
_TIMES = slice(11, 15)


def tree_mib(pid: int) -> float:
    """Proportional set size of a process and all below it, in MiB: shared pages are counted once."""
    return sum(_pss_bytes(each) for each in tree(pid)) / _MIB


def resident_mib(pid: int) -> float:
    """Resident memory of one process, in MiB."""
    return status_mib(pid, "VmRSS")


def status_mib(pid: int, name: str) -> float:
    """A size in a process's status, such as VmRSS or VmHWM, in MiB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{name}:"))


def tree_seconds(pid: int) -> float:
    """Processor time of a process and all that it has started, in seconds, of ended ones too."""
    return sum(_ticks(each) for each in tree(pid)) / _TICKS


def tree(pid: int) -> list[int]:
    """A process and all below it that run now."""
    return [pid, *(below for child in _children(pid) for below in tree(child))]


def _children(pid: int) -> list[int]:
    try:
        threads = list(Path(f"/proc/{pid}/task").iterdir())
        return [int(child) for thread in threads for child in (thread / "children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []


def _pss_bytes(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), 0)


def _ticks(pid: int) -> int:
    """Ticks of a process and of those of its children that have ended and were waited for."""
    try:
        _, _, fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return sum(int(value) for value in fields.split()[_TIMES])
