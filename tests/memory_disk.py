"""Where tests keep their temporary files: in memory, where the machine has enough of it.

Ledgers, the local Qdrant and Redis wait for the disk after every write, and several workers wait for the same
disk at once: on a slow one that is most of the time of these tests. Nothing depends on the disk itself: these
tests kill programs, not machines, and what must be synchronized in which order is checked by itself
(`tests/test_files.py`, `tests/local/qdrant/test_durability.py`).

A `TMPDIR` in the environment, or pytest's `--basetemp`, is kept.

What a killed run leaves behind would take memory for three days, after which pytest removes it; so each run
holds a lock on its directory, and the next one removes those whose lock is free.
"""

from __future__ import annotations

import fcntl
import math
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

_SHARED_MEMORY = Path("/dev/shm")
_MEMORY = Path("/proc/meminfo")
# Of a container, whose `/proc/meminfo` is the whole machine's: cgroups of version 2, and of version 1.
_LIMITS = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)
# A whole run holds at most 3 GB at a time, and its processes some 8 GB.
_DISK_BYTES = 4 << 30
_MEMORY_BYTES = 12 << 30


_LOCK = ".running"


def use_memory_disk() -> None:
    """Let this process and those that it starts make their temporary files in memory, if there is enough."""
    if os.environ.get("TMPDIR"):
        return
    remove_abandoned(_SHARED_MEMORY)
    if has_room(_SHARED_MEMORY, _MEMORY, _LIMITS):
        os.environ["TMPDIR"] = tempfile.tempdir = str(_SHARED_MEMORY)


@contextmanager
def running_in(directory: Path) -> Iterator[None]:
    """Hold the lock on a run's directory until the end of the block, or of a process that is killed in it."""
    unlocked, lock = directory / f"{_LOCK}.new", directory / _LOCK
    with unlocked.open("w") as opened:
        fcntl.flock(opened, fcntl.LOCK_EX)
        # Seen by others only now that it is held.
        unlocked.rename(lock)
        yield
        lock.unlink(missing_ok=True)


def remove_abandoned(disk: Path) -> None:
    """Remove pytest's directories of runs that were killed.

    disk: where pytest has its directories of all users, `pytest-of-USER/pytest-NUMBER`.
    """
    for lock in disk.glob(f"pytest-of-*/pytest-*/{_LOCK}"):
        with suppress(OSError), lock.open() as opened:
            # Other than the number of a process, a lock is known in all containers that share the disk.
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(lock.parent, ignore_errors=True)


def has_room(disk: Path, memory: Path, limits: Sequence[Path] = ()) -> bool:
    """Whether a disk in memory can hold a run's temporary files.

    disk: where the disk is mounted.
    memory: the kernel's report of its memory, in the form of `/proc/meminfo`.
    limits: files with a limit of this process's memory in bytes, in which files in memory count too.
    """
    if not (disk.is_dir() and os.access(disk, os.W_OK | os.X_OK) and memory.is_file()):
        return False
    state = os.statvfs(disk)
    # Tests run programs that they have written; some containers forbid that here.
    return (
        not state.f_flag & os.ST_NOEXEC
        and state.f_bavail * state.f_frsize >= _DISK_BYTES
        and min((_available_bytes(memory), *map(_limit_bytes, limits))) >= _MEMORY_BYTES
    )


def _available_bytes(memory: Path) -> int:
    fields = dict(line.split(":", 1) for line in memory.read_text().splitlines() if ":" in line)
    return int(fields.get("MemAvailable", "0 kB").split()[0]) << 10


def _limit_bytes(file: Path) -> float:
    """The limit in a file of a cgroup; infinite where there is no such file, or it says `max`."""
    text = file.read_text().strip() if file.is_file() else ""
    return int(text) if text.isdigit() else math.inf
