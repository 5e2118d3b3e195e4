"""Checks for free disk space before a write.

Qdrant Edge writes into mapped files. If the disk has no page left for one of them, the kernel kills the
process (SIGBUS) instead of returning an error. A write is therefore rejected while the disk still has a
reserve, which is larger than the largest request needs.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from creditline.errors import ResourceExhausted

_MEGABYTE = 1024 * 1024
# Twice the largest message, and the two log files of 32 MB that Edge allocates ahead.
RESERVE_BYTES = 192 * _MEGABYTE


@dataclass(frozen=True)
class DiskSpace:
    """Free space on the disk of one directory."""

    directory: Path
    """A directory on the disk."""
    reserve_bytes: int = RESERVE_BYTES
    """Bytes that must stay free."""

    def require(self, operation: str, needed_bytes: int = 0) -> None:
        """Check that an operation leaves the reserve free.

        Args:
            operation: the operation as a noun phrase for the error message.
            needed_bytes: bytes that it will write, beyond the reserve.

        Raises:
            ResourceExhausted: The disk has too little free space.
        """
        disk = os.statvfs(self.directory)
        free = disk.f_bavail * disk.f_frsize
        if free < self.reserve_bytes + needed_bytes:
            raise ResourceExhausted(
                f"{operation} needs {(self.reserve_bytes + needed_bytes) // _MEGABYTE} MB of free disk "
                f"space, but the disk of {self.directory} has {free // _MEGABYTE} MB left; "
                "nothing was changed, free disk space first"
            )


def used_bytes(directory: Path) -> int:
    """Disk space that the files of a directory tree occupy, in bytes."""
    return sum(
        os.lstat(os.path.join(root, name)).st_blocks * 512
        for root, _, names in os.walk(directory)
        for name in names
    )
