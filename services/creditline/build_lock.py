"""One process at a time builds a thing that several may start to build in one directory."""

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
    """Report to nowhere."""


@contextmanager
def build_lock(
    target: Path, *, wait_seconds: float = WAIT_SECONDS, on_wait: Callable[[str], None] = _ignore
) -> Iterator[None]:
    """Hold the right to build `target` while the block runs, after any process that holds it now.

    Look inside the block whether `target` is there: the process that was waited for may have built it.
    The lock is the kernel's (`flock` on `.NAME.lock` beside the target), so it ends with its process,
    however that ends; the lock file itself stays. It works between containers on one volume, and on NFS. Two
    locks of one target in one process exclude each other too, so it cannot be taken twice in a nest.

    Args:
        target: The file or directory to build. Directories above it are made.
        wait_seconds: How long to wait for the holder.
        on_wait: Receives one line that names the holder, when there is one to wait for.

    Raises:
        Conflict: When the holder still builds after `wait_seconds`.
        NotReady: When the file system has no locks.
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
    if _taken(descriptor, target):
        return
    on_wait(f"{target.name}: waiting for {_owner(descriptor)}, which is building it")
    until = time.monotonic() + wait_seconds
    while not _taken(descriptor, target):
        if time.monotonic() > until:
            raise Conflict(
                f"{target} is still being built by {_owner(descriptor)} after {wait_seconds:g} s; wait for"
                " that process or stop it, then start again",
                field="directory",
            )
        time.sleep(_POLL_SECONDS)


def _taken(descriptor: int, target: Path) -> bool:
    """Take the lock if it is free."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        raise NotReady(
            f"{target.parent} is on a file system without locks ({error}); use a directory on another",
            field="directory",
        ) from error
    return True


def _owner(descriptor: int) -> str:
    found = os.pread(descriptor, _LONGEST_OWNER_BYTES, 0).decode(errors="replace").strip()
    return found or "another process"
