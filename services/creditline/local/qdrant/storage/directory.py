"""Collections, aliases and snapshots in one directory; one process owns it.

DIRECTORY/owner.lock                held while a process owns the directory
DIRECTORY/aliases.json              alias -> collection
DIRECTORY/collections/NAME/         see `creditline.local.qdrant.storage.collection`
DIRECTORY/snapshots/NAME/           see `creditline.local.qdrant.storage.snapshots`
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import TracebackType

from qdrant_client import grpc as qdrant

from creditline.errors import Conflict, InvalidInput, NotFound
from creditline.local.qdrant.storage.aliases import Aliases
from creditline.local.qdrant.storage.collection import SETTINGS, StoredCollection
from creditline.local.qdrant.storage.disk_space import DiskSpace
from creditline.local.qdrant.storage.snapshots import Snapshots
from creditline.local.qdrant.translation.settings import completed

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,254}")


class CollectionDirectory(AbstractContextManager["CollectionDirectory"]):
    """All collections of one directory. Raises Conflict when another process owns it."""

    def __init__(self, directory: Path, *, kill_after_alias_actions: int = 0) -> None:
        """`kill_after_alias_actions`: see `Aliases`."""
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        self._owner = _take_ownership(directory)
        self._lock = threading.RLock()
        self._room = DiskSpace(directory)
        self.snapshots = Snapshots(directory / "snapshots", self._room)
        self._aliases = Aliases(directory / "aliases.json", kill_after=kill_after_alias_actions)
        self._collections = {
            found.name: StoredCollection.load(found, self._room) for found in self._whole_directories()
        }

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Flush and close every shard, and give the directory up."""
        with self._lock:
            for collection in self._collections.values():
                collection.close()
            self._collections.clear()
            os.close(self._owner)

    def names(self) -> list[str]:
        with self._lock:
            return sorted(self._collections)

    def aliases(self) -> Mapping[str, str]:
        with self._lock:
            return self._aliases.targets

    def has(self, name: str) -> bool:
        """Whether a collection or an alias of that name is there."""
        with self._lock:
            return self._aliases.target(name) in self._collections

    def collection(self, name: str) -> StoredCollection:
        """By name or alias. Raises NotFound."""
        with self._lock:
            found = self._collections.get(self._aliases.target(name))
        if found is None:
            raise NotFound(f"Collection `{name}` doesn't exist!", field="collection_name")
        return found

    def create(self, request: qdrant.CreateCollection) -> None:
        """Raises InvalidInput for a name that cannot be a directory, Conflict when it is taken."""
        name = checked_name(request.collection_name)
        with self._lock:
            if self.has(name):
                raise Conflict(f"Collection `{name}` already exists!", field="collection_name")
            directory = self._directory / "collections" / name
            self._collections[name] = StoredCollection.create(directory, completed(request), self._room)

    def drop(self, name: str) -> bool:
        """Delete a collection's aliases, then the collection with its files; false when it was not there."""
        with self._lock:
            if name not in self._collections:
                return False
            self._aliases.forget(name)
            found = self._collections.pop(name)
            (found.directory / SETTINGS).unlink()
            found.close()
            shutil.rmtree(found.directory)
            return True

    def change_aliases(self, actions: Sequence[qdrant.AliasOperations]) -> None:
        """Apply the actions in order, each saved by itself; readers see them together.

        Raises NotFound, Conflict; the actions before the one that was refused stay in force.
        """
        with self._lock:
            self._aliases.apply(actions, self._collections.keys())

    def _whole_directories(self) -> list[Path]:
        """Collections on disk; what a crash left half made or half dropped is removed."""
        root = self._directory / "collections"
        root.mkdir(exist_ok=True)
        whole = []
        for found in sorted(root.iterdir()):
            if (found / SETTINGS).is_file():
                whole.append(found)
            else:
                shutil.rmtree(found)
        return whole


def checked_name(name: str) -> str:
    """The name itself. Raises InvalidInput for one that cannot be a directory."""
    if not _NAME.fullmatch(name):
        raise InvalidInput(
            f"{name!r} cannot name a collection: use letters, digits, '.', '_' and '-'",
            field="collection_name",
        )
    return name


@contextmanager
def owned(directory: Path) -> Iterator[None]:
    """Own the directory without opening what is in it. Raises Conflict when a running process owns it."""
    descriptor = _take_ownership(directory)
    try:
        yield
    finally:
        os.close(descriptor)


def _take_ownership(directory: Path) -> int:
    """A descriptor that holds the directory's lock until it is closed. Raises Conflict."""
    descriptor = os.open(directory / "owner.lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        owner = os.read(descriptor, 32).decode().strip() or "unknown"
        os.close(descriptor)
        raise Conflict(
            f"{directory} is owned by the running process {owner}; stop that one, or use another directory",
            field="directory",
        ) from None
    os.ftruncate(descriptor, 0)
    os.write(descriptor, f"{os.getpid()}\n".encode())
    return descriptor
