"""What is on disk when a call returns, however the machine stops.

An update is in Qdrant Edge's write-ahead log before it is applied, so a kill -9 loses nothing. Against a
power loss the log's files are synchronized before an update is acknowledged; Edge's own `flush`, which writes
the forty files of every segment as well, takes sixty times as long and holds the GIL meanwhile.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

from creditline.files import replace_file, sync_directory


def write_durably(path: Path, text: str) -> None:
    """Replace a file in one step, on disk before this returns."""
    with replace_file(path, durable=True) as draft:
        draft.write_text(text)


def sync_files(directory: Path) -> None:
    """Put the contents of all files of a tree on disk; files that vanish meanwhile do not matter."""
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
    """The log of one shard, as files: synchronized without Edge, and without the GIL."""

    def __init__(self, shard: Path) -> None:
        self._directory = shard / "wal"
        self._names: set[str] = set()

    def sync(self) -> None:
        """Everything that was written before this call is on disk after it."""
        names = set(os.listdir(self._directory))
        for name in names:
            _sync_file(os.path.join(self._directory, name))
        if names != self._names:
            sync_directory(self._directory)
            self._names = names

    def full_files(self) -> int:
        """How many files of the log are full: what a restart would have to replay, and a flush gives free."""
        return sum(name.startswith("closed-") for name in os.listdir(self._directory))


class GroupCommit:
    """One synchronization for all writers that wait for one.

    A writer takes a ticket with its write, in the order of the writes, and then waits for the ticket: the
    first to wait synchronizes for all that have written by then, while others go on writing.
    """

    def __init__(self, sync: Callable[[], None]) -> None:
        self._sync = sync
        self._changed = threading.Condition()
        self._written = 0
        self._durable = 0
        self._syncing = False

    def ticket(self) -> int:
        """For a write that has just been made."""
        with self._changed:
            self._written += 1
            return self._written

    def wait(self, ticket: int) -> None:
        """Until the ticket's write is on disk. Raises what this thread's synchronization raised."""
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
        """Whether it is on this thread to synchronize; false once the ticket is on disk."""
        with self._changed:
            while self._durable < ticket and self._syncing:
                self._changed.wait()
            if self._durable >= ticket:
                return False
            self._syncing = True
            return True
