"""Where tests keep their temporary files: in memory, where the machine has enough of it.

Ledgers, the local Qdrant and Redis wait for the disk after every write, and several workers wait for the same
disk at once: on a slow one that is most of the time of these tests. Nothing depends on the disk itself: these
tests kill programs, not machines, and what must be synchronized in which order is checked by itself
(`tests/test_files.py`, `tests/local/qdrant/test_durability.py`).

A `TMPDIR` in the environment, or pytest's `--basetemp`, is kept.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

_SHARED_MEMORY = Path("/dev/shm")
_MEMORY = Path("/proc/meminfo")
# A whole run holds at most 3 GB at a time, and its processes some 8 GB.
_DISK_BYTES = 4 << 30
_MEMORY_BYTES = 12 << 30


def use_memory_disk() -> None:
    """Let this process and those that it starts make their temporary files in memory, if there is enough."""
    if not os.environ.get("TMPDIR") and has_room(_SHARED_MEMORY, _MEMORY):
        os.environ["TMPDIR"] = tempfile.tempdir = str(_SHARED_MEMORY)


def has_room(disk: Path, memory: Path) -> bool:
    """Whether a disk in memory can hold a run's temporary files.

    disk: where the disk is mounted.
    memory: the kernel's report of its memory, in the form of `/proc/meminfo`.
    """
    if not (disk.is_dir() and os.access(disk, os.W_OK | os.X_OK) and memory.is_file()):
        return False
    state = os.statvfs(disk)
    # Tests run programs that they have written; some containers forbid that here.
    return (
        not state.f_flag & os.ST_NOEXEC
        and state.f_bavail * state.f_frsize >= _DISK_BYTES
        and _available_bytes(memory) >= _MEMORY_BYTES
    )


def _available_bytes(memory: Path) -> int:
    fields = dict(line.split(":", 1) for line in memory.read_text().splitlines() if ":" in line)
    return int(fields.get("MemAvailable", "0 kB").split()[0]) << 10
