"""Durability of files and of the write-ahead log.

An update is in Qdrant Edge's write-ahead log before it is applied, so a kill -9 loses nothing. Against a
power loss the log's files are synchronized before an update is acknowledged. Edge's own `flush` also writes
the forty files of every segment; it takes sixty times as long and holds the GIL meanwhile.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

from creditline.files import replace_file, sync_directory


def write_durably(path: Path, text: str) -> None:
    """Replace a file atomically; it is on disk when this returns."""
    with replace_file(path, durable=True) as draft:
        draft.write_text(text)


def sync_files(directory: Path) -> None:
    """Synchronize all files of a directory tree; files that are deleted meanwhile are skipped."""
    for root, _, names in os.walk(directory):
        for name in names:
            _sync_file(os.path.join(root, name))


def _sync_file(path: str) -> None:
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return
    try:
        os.fdatasync(descriptor)
    finally:
        os.close(descriptor)


class WriteAheadLog:
    """The write-ahead log of one shard as files, synchronized without Edge and without the GIL.

    Args:
        shard: directory of Edge's files.
    """

    def __init__(self, shard: Path) -> None:
        self._directory = shard / "wal"
        self._names: set[str] = set()

    def sync(self) -> None:
        """Synchronize the log: all updates written before this call are on disk when it returns."""
        names = set(os.listdir(self._directory))
        for name in names:
            _sync_file(os.path.join(self._directory, name))
        if names != self._names:
            sync_directory(self._directory)
            self._names = names

    def full_files(self) -> int:
        """Number of full log files, which a restart would replay and a flush releases."""
        return sum(name.startswith("closed-") for name in os.listdir(self._directory))


class GroupCommit:
    """Group commit: one synchronization for all writers that wait.

    Each write gets a ticket, in the order of the writes, and its writer waits for that ticket. The first to
    wait synchronizes for all that have written by then, while others go on writing.

    Args:
        sync: synchronizes everything written so far.
    """

    def __init__(self, sync: Callable[[], None]) -> None:
        self._sync = sync
        self._changed = threading.Condition()
        self._written = 0
        self._durable = 0
        self._syncing = False

    def ticket(self) -> int:
        """The ticket of the write that has just been made."""
        with self._changed:
            self._written += 1
            return self._written

    def wait(self, ticket: int) -> None:
        """Wait until the ticket's write is on disk. Raises the errors of `sync`."""
        while self._must_sync(ticket):
            with self._changed:
                reached = self._written
            done = False
            try:
                self._sync()
                done = True
            finally:
                with self._changed:
                    self._syncing = False
                    if done:
                        self._durable = reached
                    self._changed.notify_all()

    def _must_sync(self, ticket: int) -> bool:
        """Whether this thread has to synchronize; false once the ticket's write is on disk."""
        with self._changed:
            while self._durable < ticket and self._syncing:
                self._changed.wait()
            if self._durable >= ticket:
                return False
            self._syncing = True
            return True
