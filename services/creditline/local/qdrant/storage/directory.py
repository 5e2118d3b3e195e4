"""A data directory of collections, aliases and snapshots, owned by one process.

DIRECTORY/owner.lock                locked while a process owns the directory
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

from creditline.errors import Conflict, InvalidInput, NotFound
from creditline.local.qdrant.storage.aliases import Aliases
from creditline.local.qdrant.storage.collection import SETTINGS, StoredCollection
from creditline.local.qdrant.storage.disk_space import DiskSpace
from creditline.local.qdrant.storage.snapshots import Snapshots
from creditline.local.qdrant.translation.settings import completed
from creditline.qdrant_messages import qdrant

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,254}")


class CollectionDirectory(AbstractContextManager["CollectionDirectory"]):
    """All collections of one data directory, opened for the lifetime of this object.

    Args:
        directory: the data directory; it is created if it does not exist.
        kill_after_alias_actions: for fault tests, see `Aliases`.

    Raises:
        Conflict: Another process owns the directory.
    """

    def __init__(self, directory: Path, *, kill_after_alias_actions: int = 0) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        self._owner = _take_ownership(directory)
        self._lock = threading.RLock()
        self._disk_space = DiskSpace(directory)
        self.snapshots = Snapshots(directory / "snapshots", self._disk_space)
        self._aliases = Aliases(directory / "aliases.json", kill_after=kill_after_alias_actions)
        self._collections = {
            found.name: StoredCollection.load(found, self._disk_space)
            for found in self._complete_directories()
        }

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Flush and close every shard, and release the directory."""
        with self._lock:
            for collection in self._collections.values():
                collection.close()
            self._collections.clear()
            os.close(self._owner)

    def names(self) -> list[str]:
        """Names of all collections, sorted."""
        with self._lock:
            return sorted(self._collections)

    def aliases(self) -> Mapping[str, str]:
        """Collections by alias."""
        with self._lock:
            return self._aliases.targets

    def has(self, name: str) -> bool:
        """Whether a collection or an alias of this name exists."""
        with self._lock:
            return self._aliases.target(name) in self._collections

    def collection(self, name: str) -> StoredCollection:
        """A collection by its name or an alias. Raises NotFound if there is none."""
        with self._lock:
            found = self._collections.get(self._aliases.target(name))
        if found is None:
            raise NotFound(f"Collection `{name}` doesn't exist!", field="collection_name")
        return found

    def create(self, request: qdrant.CreateCollection) -> None:
        """Create a collection.

        Raises:
            InvalidInput: The name cannot be that of a directory, or a setting has an invalid value.
            Conflict: The name is taken.
            Unsupported: A setting is not supported.
            ResourceExhausted: The disk has too little free space.
        """
        name = checked_name(request.collection_name)
        with self._lock:
            if self.has(name):
                raise Conflict(f"Collection `{name}` already exists!", field="collection_name")
            directory = self._directory / "collections" / name
            self._collections[name] = StoredCollection.create(directory, completed(request), self._disk_space)

    def drop(self, name: str) -> bool:
        """Delete a collection's aliases, then the collection with its files; returns whether it existed."""
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
        """Apply alias actions in order; each is saved by itself, and readers see all of them at once.

        Raises:
            NotFound, Conflict: An action was rejected (see `Aliases.apply`); those before it stay in force.
        """
        with self._lock:
            self._aliases.apply(actions, self._collections.keys())

    def _complete_directories(self) -> list[Path]:
        """Directories of complete collections; incomplete ones, which a crash left, are removed."""
        root = self._directory / "collections"
        root.mkdir(exist_ok=True)
        complete = []
        for found in sorted(root.iterdir()):
            if (found / SETTINGS).is_file():
                complete.append(found)
            else:
                shutil.rmtree(found)
        return complete


def checked_name(name: str) -> str:
    """Return the name unchanged. Raises InvalidInput if it cannot be that of a directory."""
    if not _NAME.fullmatch(name):
        raise InvalidInput(
            f"{name!r} cannot be the name of a collection: use letters, digits, '.', '_' and '-'",
            field="collection_name",
        )
    return name


@contextmanager
def owned(directory: Path) -> Iterator[None]:
    """Own the directory without opening its collections. Raises Conflict if a running process owns it."""
    descriptor = _take_ownership(directory)
    try:
        yield
    finally:
        os.close(descriptor)


def _take_ownership(directory: Path) -> int:
    """Lock the directory; the returned descriptor holds the lock until it is closed. Raises Conflict."""
    descriptor = os.open(directory / "owner.lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        owner = os.read(descriptor, 32).decode().strip() or "unknown"
        os.close(descriptor)
        raise Conflict(
            f"{directory} is owned by the running process {owner}; stop it, or use another directory",
            field="directory",
        ) from None
    os.ftruncate(descriptor, 0)
    os.write(descriptor, f"{os.getpid()}\n".encode())
    return descriptor
