"""Room on the disk: asked for before a write, because afterwards it is too late.

Qdrant Edge writes into mapped files. When the disk has no page left for one of them the kernel ends the whole
process (SIGBUS); it does not return an error. So a write is refused while the disk still has a reserve, which
is more than the largest request needs.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from creditline.errors import ResourceExhausted

_MEGABYTE = 1024 * 1024
# Twice the largest message, and the two log files of 32 MB that Edge keeps ahead.
RESERVE_BYTES = 192 * _MEGABYTE


@dataclass(frozen=True)
class DiskSpace:
    """The disk of one directory. A `reserve_bytes` stays free."""

    directory: Path
    reserve_bytes: int = RESERVE_BYTES

    def demand(self, what: str, needed_bytes: int = 0) -> None:
        """Raises ResourceExhausted when `what` would leave less than the reserve."""
        disk = os.statvfs(self.directory)
        free = disk.f_bavail * disk.f_frsize
        if free < self.reserve_bytes + needed_bytes:
            raise ResourceExhausted(
                f"{what} needs {(self.reserve_bytes + needed_bytes) // _MEGABYTE} MB of room but the disk of "
                f"{self.directory} has {free // _MEGABYTE} MB left; nothing was changed, make room first"
            )


def used_bytes(directory: Path) -> int:
    """What the files of a tree take on the disk."""
    return sum(
        os.lstat(os.path.join(root, name)).st_blocks * 512
        for root, _, names in os.walk(directory)
        for name in names
    )
