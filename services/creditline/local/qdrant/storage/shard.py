"""One Qdrant Edge shard: reads, durable writes, and an optimizer that blocks neither.

HOME/current          the name of the shard's directory; replaced atomically
HOME/shard-000001/    Qdrant Edge's own files, including its write-ahead log
"""

from __future__ import annotations

import logging
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self, TypeVar, cast

import qdrant_edge as edge

from creditline.errors import NotFound
from creditline.local.qdrant.storage.disk_space import DiskSpace, used_bytes
from creditline.local.qdrant.storage.durability import GroupCommit, WriteAheadLog, sync_files, write_durably
from creditline.local.qdrant.storage.optimizing import Optimization
from creditline.local.qdrant.translation.edge_types import EdgeShard

_LOGGER = logging.getLogger(__name__)
CURRENT = "current"
_UNNUMBERED = "shard"
# Files of 32 MB that a restart replays, at 25,000 points of 256 numbers per second.
_FULL_LOG_FILES = 4
_NO_POINT = "No point with id"
# Updates that may be left to replay while writers wait.
_FEW_UPDATES = 4
_T = TypeVar("_T")


class Shard:
    """One open shard. Calls run one at a time, because Edge holds the GIL anyway.

    An optimization works on a copy of the shard, in another process. Updates written meanwhile go to the
    shard at once and are replayed on the copy afterwards; then the copy replaces the shard.

    Args:
        home: the shard's directory, which holds the file `current`.
        shard: the open shard.
        disk_space: checks for free disk space before an optimization.
    """

    def __init__(self, home: Path, shard: EdgeShard, disk_space: DiskSpace) -> None:
        self._home = home
        self._disk_space = disk_space
        self._opened: EdgeShard | None = shard
        self._log = WriteAheadLog(self.directory)
        self._commit = GroupCommit(lambda: self._log.sync())
        # Held by a writer, and while files are copied; acquired before `_calling`.
        self._writing = threading.Lock()
        self._calling = threading.Lock()
        self._unreplayed: list[edge.UpdateOperation] | None = None
        self._optimization: Optimization | None = None
        self._writes = 0
        self._optimized_for: tuple[int, str] | None = None

    @classmethod
    def create(cls, home: Path, config: edge.EdgeConfig, disk_space: DiskSpace) -> Self:
        """Create a shard; the file `current`, written last, marks it as complete."""
        home.mkdir(parents=True)
        shard = edge.EdgeShard.create(str(home / _shard_name(1)), config)
        shard.flush()
        write_durably(home / CURRENT, _shard_name(1))
        return cls(home, cast("EdgeShard", shard), disk_space)

    @classmethod
    def load(cls, home: Path, disk_space: DiskSpace) -> Self:
        """Open an existing shard and remove the copies of unfinished optimizations."""
        current = current_directory(home)
        for found in home.iterdir():
            if found.is_dir() and found != current:
                shutil.rmtree(found)
        return cls(home, _load(current), disk_space)

    @property
    def directory(self) -> Path:
        """The directory that holds Edge's files now."""
        return current_directory(self._home)

    def read(self, call: Callable[[EdgeShard], _T]) -> _T:
        """Run `call(shard)`. Raises NotFound if the collection was dropped meanwhile."""
        with self._calling:
            return call(self._open())

    def write(self, operation: edge.UpdateOperation, *, selects: bool = False) -> None:
        """Apply an update; it survives a power loss once this returns.

        Args:
            operation: the update.
            selects: whether it selects its points by a filter. Such an update is flushed as well: replayed
                from the log onto points that have changed since, it could select others.

        Raises:
            NotFound: As on a server, the update names points that do not exist; the others are changed.
        """
        with self._writing:
            missing = self.read(lambda shard: _update(shard, operation))
            if self._unreplayed is not None:
                self._unreplayed.append(operation)
            if selects or self._log.full_files() >= _FULL_LOG_FILES:
                self._flush()
            self._writes += 1
            ticket = self._commit.ticket()
        self._commit.wait(ticket)
        if missing:
            raise NotFound(missing, field="points")

    @contextmanager
    def held(self) -> Iterator[Path]:
        """Flush the shard and block writes, not reads, until the block ends; yields Edge's directory."""
        with self._writing:
            self._flush()
            yield self.directory

    def _flush(self) -> None:
        """Flush by Edge; synchronizing the files first does most of the work without the GIL."""
        sync_files(self.directory)
        self.read(lambda shard: shard.flush())

    def optimize(self, settings: Path) -> None:
        """Build the graph and quantized vectors of points that are not indexed yet.

        Does nothing if neither points nor settings have changed since the last run. After an error the shard
        is unchanged.

        Args:
            settings: the collection's settings file.

        Raises:
            Unavailable: The optimizer failed.
            NotFound: The shard was closed meanwhile.
            ResourceExhausted: The disk has too little free space for the copy.
        """
        target = (self._writes, settings.read_text())
        if target == self._optimized_for:
            return
        before = self.directory
        copy = self._home / _shard_name(_shard_number(before.name) + 1)
        began = time.monotonic()
        try:
            self._copy_to(copy)
            copied = time.monotonic()
            self._start(copy, settings).wait()
            built = time.monotonic()
            replaced = self._swap_in(copy)
        except BaseException:
            if self.directory != copy:
                shutil.rmtree(copy, ignore_errors=True)
            raise
        finally:
            with self._writing:
                self._unreplayed = self._optimization = None
        self._optimized_for = target
        _LOGGER.info(
            "optimized %s: copied in %.1f s, built in %.1f s, swapped in %.1f s",
            *(self._home, copied - began, built - copied, time.monotonic() - built),
        )
        replaced.close()
        shutil.rmtree(before)

    def _copy_to(self, copy: Path) -> None:
        """Copy the shard's files; updates written from now on are recorded for replay on the copy."""
        with self.held() as directory:
            # The copy itself, and the new segments that the optimizer writes.
            self._disk_space.require("an optimization", 2 * used_bytes(directory))
            shutil.copytree(directory, copy)
            self._unreplayed = []

    def _start(self, copy: Path, settings: Path) -> Optimization:
        with self._calling:
            self._open()  # raises if the shard was closed meanwhile
            self._optimization = Optimization(copy, settings)
            return self._optimization

    def _swap_in(self, copy: Path) -> EdgeShard:
        """Replay the missing updates on an optimized copy and swap it in; returns the replaced shard."""
        optimized = _load(copy)
        try:
            self._catch_up(optimized)
            # The optimizer flushed its segments; the updates replayed since are in the copy's log.
            sync_files(copy)
            with self._writing:
                for operation in self._take_unreplayed():
                    _update(optimized, operation)
                WriteAheadLog(copy).sync()
                return self._replace(optimized, copy)
        except BaseException:
            optimized.close()
            raise

    def _catch_up(self, optimized: EdgeShard) -> None:
        """Replay updates until only a few are left, while writers go on."""
        while len(self._unreplayed or ()) > _FEW_UPDATES:
            for operation in self._take_unreplayed():
                _update(optimized, operation)

    def _take_unreplayed(self) -> list[edge.UpdateOperation]:
        """The updates written since the copy was made, or since the last call."""
        missed = self._unreplayed or []
        taken = missed[:]
        del missed[: len(taken)]
        return taken

    def _replace(self, optimized: EdgeShard, copy: Path) -> EdgeShard:
        with self._calling:
            replaced = self._open()
            write_durably(self._home / CURRENT, copy.name)
            self._opened, self._unreplayed = optimized, None
            self._log = WriteAheadLog(copy)
        return replaced

    def close(self) -> None:
        """Flush and close the shard; a running optimization is cancelled."""
        with self._calling:
            if self._opened is not None:
                self._opened.flush()
                self._opened.close()
                self._opened = None
            if self._optimization is not None:
                self._optimization.cancel()

    def _open(self) -> EdgeShard:
        if self._opened is None:
            raise NotFound(f"Collection `{self._home.parent.name}` doesn't exist!", field="collection_name")
        return self._opened


def _load(directory: Path) -> EdgeShard:
    return cast("EdgeShard", edge.EdgeShard.load(str(directory)))


def _update(shard: EdgeShard, operation: edge.UpdateOperation) -> str:
    """Apply an update; returns Edge's message on points that do not exist, or an empty string."""
    try:
        shard.update(operation)
    except Exception as error:
        if not str(error).startswith(_NO_POINT):
            raise
        return f"{error} found"
    return ""


def current_directory(home: Path) -> Path:
    """The directory of a shard's files; shards from before directories were numbered have no `current`."""
    pointer = home / CURRENT
    return home / (pointer.read_text() if pointer.is_file() else _UNNUMBERED)


def _shard_name(number: int) -> str:
    return f"shard-{number:06d}"


def _shard_number(name: str) -> int:
    return int(name.partition("-")[2] or 0)
