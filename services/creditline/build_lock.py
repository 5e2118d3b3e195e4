"""A lock under which one process at a time builds an artifact that several processes may start to build."""

from __future__ import annotations

import fcntl
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from creditline.errors import Conflict, NotReady

WAIT_SECONDS = 7 * 24 * 3600.0
_POLL_SECONDS = 0.1
_LONGEST_OWNER_BYTES = 300


def _ignore(line: str) -> None:
    """Discard a progress line."""


@contextmanager
def build_lock(
    target: Path, *, wait_seconds: float = WAIT_SECONDS, on_wait: Callable[[str], None] = _ignore
) -> Iterator[None]:
    """Hold the lock on building `target` while the block runs; waits for a process that holds it now.

    Check inside the block whether `target` exists: the previous holder may have built it. The lock is the
    kernel's (`flock` on `.NAME.lock` beside the target), so it is released when its process ends, even when
    the process is killed; the lock file itself stays. It works between containers on one volume, and on NFS.
    Two locks on one target within one process exclude each other too, so the lock is not re-entrant.

    Args:
        target: The file or directory to build. Missing parent directories are created.
        wait_seconds: Longest time to wait for the holder, in seconds.
        on_wait: Receives one line that names the holder, when the lock is held by another.

    Raises:
        Conflict: The holder is still building after `wait_seconds`.
        NotReady: The file system does not support locks.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    path = target.with_name(f".{target.name}.lock")
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        _wait_for(descriptor, target, wait_seconds, on_wait)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)


def _wait_for(descriptor: int, target: Path, wait_seconds: float, on_wait: Callable[[str], None]) -> None:
    if _try_lock(descriptor, target):
        return
    on_wait(f"{target.name}: waiting for {_owner(descriptor)}, which is building it")
    until = time.monotonic() + wait_seconds
    while not _try_lock(descriptor, target):
        if time.monotonic() > until:
            raise Conflict(
                f"{target} is still being built by {_owner(descriptor)} after {wait_seconds:g} s; wait for"
                " that process or stop it, then start again",
                field="directory",
            )
        time.sleep(_POLL_SECONDS)


def _try_lock(descriptor: int, target: Path) -> bool:
    """Take the lock if it is free; returns whether it was."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        raise NotReady(
            f"{target.parent} is on a file system that does not support file locks ({error}); use a directory"
            " on another file system",
            field="directory",
        ) from error
    return True


def _owner(descriptor: int) -> str:
    owner = os.pread(descriptor, _LONGEST_OWNER_BYTES, 0).decode(errors="replace").strip()
    return owner or "another process"
