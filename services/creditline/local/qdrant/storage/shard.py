"""One Qdrant Edge shard: reads, durable writes, and an optimizer that stops neither.

HOME/current          the name of the shard's directory; replaced in one step
HOME/shard-000001/    Qdrant Edge's own files, its write-ahead log among them
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
# Of 32 MB each: a restart replays what they hold, 25,000 points of 256 numbers a second.
_FULL_LOG_FILES = 4
_NO_POINT = "No point with id"
# So few updates are caught up with while writers wait.
_FEW_UPDATES = 4
_T = TypeVar("_T")


class Shard:
    """One open shard. Calls are one at a time: Edge holds the GIL anyway.

    An optimization works on a copy of the shard, in another process; what is written meanwhile goes to the
    shard at once and to the copy afterwards, and then the copy takes the shard's place.
    """

    def __init__(self, home: Path, shard: EdgeShard, disk_space: DiskSpace) -> None:
        self._home = home
        self._room = disk_space
        self._opened: EdgeShard | None = shard
        self._log = WriteAheadLog(self.directory)
        self._commit = GroupCommit(lambda: self._log.sync())
        # Held by a writer, and while files are copied; taken before the other lock.
        self._writing = threading.Lock()
        self._calling = threading.Lock()
        self._missed: list[edge.UpdateOperation] | None = None
        self._optimization: Optimization | None = None
        self._writes = 0
        self._optimized_for: tuple[int, str] | None = None

    @classmethod
    def create(cls, home: Path, config: edge.EdgeConfig, disk_space: DiskSpace) -> Self:
        """Make the shard, then the file that says that it is whole."""
        home.mkdir(parents=True)
        shard = edge.EdgeShard.create(str(home / _shard_name(1)), config)
        shard.flush()
        write_durably(home / CURRENT, _shard_name(1))
        return cls(home, cast("EdgeShard", shard), disk_space)

    @classmethod
    def load(cls, home: Path, disk_space: DiskSpace) -> Self:
        """Open what is there; copies that an optimization had not finished are removed."""
        current = current_directory(home)
        for found in home.iterdir():
            if found.is_dir() and found != current:
                shutil.rmtree(found)
        return cls(home, _load(current), disk_space)

    @property
    def directory(self) -> Path:
        """Where Edge's files are now."""
        return current_directory(self._home)

    def read(self, call: Callable[[EdgeShard], _T]) -> _T:
        """Run `call(shard)`. Raises NotFound when the collection was dropped meanwhile."""
        with self._calling:
            return call(self._open())

    def write(self, operation: edge.UpdateOperation, *, selects: bool = False) -> None:
        """Apply an Edge update; it would survive a power loss once this returns.

        An update that `selects` its points by a filter is flushed as well: replayed from the log onto points
        that are further on already, it could select others. Raises NotFound, as a server does, when it names
        points that are not there; the others are then changed all the same.
        """
        with self._writing:
            missing = self.read(lambda shard: _update(shard, operation))
            if self._missed is not None:
                self._missed.append(operation)
            if selects or self._log.full_files() >= _FULL_LOG_FILES:
                self._flush()
            self._writes += 1
            ticket = self._commit.ticket()
        self._commit.wait(ticket)
        if missing:
            raise NotFound(missing, field="points")

    @contextmanager
    def held(self) -> Iterator[Path]:
        """Everything flushed, and no write until the block ends; reads go on. Yields Edge's directory."""
        with self._writing:
            self._flush()
            yield self.directory

    def _flush(self) -> None:
        """Edge's own flush, after most of its work was done without the GIL."""
        sync_files(self.directory)
        self.read(lambda shard: shard.flush())

    def optimize(self, settings: Path) -> None:
        """Build graph and codes of what is not indexed yet, as the collection's `settings` file says.

        Raises Unavailable when the optimizer failed, NotFound when the shard was closed meanwhile, and
        ResourceExhausted when there is no room for the copy; the shard is then as it was. Nothing happens
        when neither points nor settings have changed since the last time.
        """
        wanted = (self._writes, settings.read_text())
        if wanted == self._optimized_for:
            return
        before = self.directory
        copy = self._home / _shard_name(_shard_number(before.name) + 1)
        began = time.monotonic()
        try:
            self._copy_to(copy)
            copied = time.monotonic()
            self._start(copy, settings).wait()
            built = time.monotonic()
            replaced = self._take(copy)
        except BaseException:
            if self.directory != copy:
                shutil.rmtree(copy, ignore_errors=True)
            raise
        finally:
            with self._writing:
                self._missed = self._optimization = None
        self._optimized_for = wanted
        _LOGGER.info(
            "optimized %s: copied in %.1f s, built in %.1f s, in its place after %.1f s",
            *(self._home, copied - began, built - copied, time.monotonic() - built),
        )
        replaced.close()
        shutil.rmtree(before)

    def _copy_to(self, copy: Path) -> None:
        """Copy the shard's files; from here on what is written is kept for the copy too."""
        with self.held() as directory:
            # The copy, and beside it what the optimizer makes of it.
            self._room.demand("an optimization", 2 * used_bytes(directory))
            shutil.copytree(directory, copy)
            self._missed = []

    def _start(self, copy: Path, settings: Path) -> Optimization:
        with self._calling:
            self._open()  # closed meanwhile: nothing is started
            self._optimization = Optimization(copy, settings)
            return self._optimization

    def _take(self, copy: Path) -> EdgeShard:
        """Let an optimized copy catch up, and put it in the shard's place; returns what was there."""
        optimized = _load(copy)
        try:
            self._catch_up(optimized)
            # The optimizer flushed what it made; what came later is in the copy's log.
            sync_files(copy)
            with self._writing:
                for operation in self._still_missed():
                    _update(optimized, operation)
                WriteAheadLog(copy).sync()
                return self._replace(optimized, copy)
        except BaseException:
            optimized.close()
            raise

    def _catch_up(self, optimized: EdgeShard) -> None:
        """Until only a few updates are missing, while others are written."""
        while len(self._missed or ()) > _FEW_UPDATES:
            for operation in self._still_missed():
                _update(optimized, operation)

    def _still_missed(self) -> list[edge.UpdateOperation]:
        """What was written since the last call, and since the copy was made."""
        missed = self._missed or []
        taken = missed[:]
        del missed[: len(taken)]
        return taken

    def _replace(self, optimized: EdgeShard, copy: Path) -> EdgeShard:
        with self._calling:
            replaced = self._open()
            write_durably(self._home / CURRENT, copy.name)
            self._opened, self._missed = optimized, None
            self._log = WriteAheadLog(copy)
        return replaced

    def close(self) -> None:
        """Flush and close; an optimization that is running is given up."""
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
    """Apply an update; what Edge says of the points that it did not find, if there are any."""
    try:
        shard.update(operation)
    except Exception as refusal:
        if not str(refusal).startswith(_NO_POINT):
            raise
        return f"{refusal} found"
    return ""


def current_directory(home: Path) -> Path:
    """A shard's directory; one that was made before they were numbered has no `current`."""
    pointer = home / CURRENT
    return home / (pointer.read_text() if pointer.is_file() else _UNNUMBERED)


def _shard_name(number: int) -> str:
    return f"shard-{number:06d}"


def _shard_number(name: str) -> int:
    return int(name.partition("-")[2] or 0)
