"""Collections and aliases in one directory, each collection a Qdrant Edge shard; one process owns it.

DIRECTORY/owner.lock                        held while a process owns the directory
DIRECTORY/aliases.json                      alias -> collection
DIRECTORY/collections/NAME/collection.json  the request that made it, whole; written last, removed first
DIRECTORY/collections/NAME/current          the name of its shard's directory; replaced in one step
DIRECTORY/collections/NAME/shard-000001/    Qdrant Edge's own files, its write-ahead log among them
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import re
import shutil
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import qdrant_edge as edge
from google.protobuf import json_format
from qdrant_client import grpc as qdrant

from creditline.errors import Conflict, InvalidInput, NotFound
from creditline.local.qdrant.optimizing import Optimization
from creditline.local.qdrant.translation import completed, edge_config

_LOGGER = logging.getLogger(__name__)
_CURRENT = "current"
_UNNUMBERED = "shard"
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,254}")
_T = TypeVar("_T")


class StoredCollection:
    """One open shard with the request that made it. Calls are one at a time: Edge holds the GIL anyway.

    An optimization works on a copy of the shard, in another process; what is written meanwhile goes to the
    shard at once and to the copy afterwards, and then the copy takes the shard's place.
    """

    def __init__(self, directory: Path, created_by: qdrant.CreateCollection, shard: edge.EdgeShard) -> None:
        self.directory = directory
        self.created_by = created_by
        self._shard: edge.EdgeShard | None = shard
        self._lock = threading.Lock()
        self._operations = 0
        self._optimizing = threading.Lock()
        self._optimization: Optimization | None = None
        self._missed: list[Any] | None = None
        self.optimizer_error = ""

    @classmethod
    def create(cls, directory: Path, request: qdrant.CreateCollection) -> Self:
        """Make the shard, then the file that says that it is whole."""
        config = edge_config(request)
        directory.mkdir(parents=True)
        shard = edge.EdgeShard.create(str(directory / _shard_name(1)), config)
        shard.flush()
        _write_durably(directory / _CURRENT, _shard_name(1))
        _write_durably(directory / "collection.json", json_format.MessageToJson(request))
        return cls(directory, request, shard)

    @classmethod
    def load(cls, directory: Path) -> Self:
        """Open what is there; copies that an optimization had not finished are removed."""
        request = json_format.Parse((directory / "collection.json").read_text(), qdrant.CreateCollection())
        current = _current_shard(directory)
        for found in directory.iterdir():
            if found.is_dir() and found.name != current:
                shutil.rmtree(found)
        return cls(directory, request, edge.EdgeShard.load(str(directory / current)))

    def read(self, call: Callable[[Any], _T]) -> _T:
        """Run `call(shard)`. Raises NotFound when the collection was dropped meanwhile."""
        with self._lock:
            return call(self._open_shard())

    def write(self, operation: Any) -> int:
        """Apply an Edge update and flush it; returns its number once it would survive a power loss."""
        with self._lock:
            shard = self._open_shard()
            shard.update(operation)
            shard.flush()
            if self._missed is not None:
                self._missed.append(operation)
            self._operations += 1
            return self._operations

    @property
    def is_optimizing(self) -> bool:
        """Whether an optimization is running; queries and writes go on meanwhile."""
        return self._optimizing.locked()

    def start_optimizing(self) -> None:
        """Build graph and codes of what is not indexed yet, in the background.

        Nothing happens while an optimization is running already. `optimizer_error` says how the last one
        failed, if it did.
        """
        if self._optimizing.acquire(blocking=False):
            threading.Thread(target=self._optimize, name=f"optimize-{self.directory.name}").start()

    def _optimize(self) -> None:
        try:
            copy = self._copied()
            try:
                self._build(copy).wait()
                self._take(copy)
                self.optimizer_error = ""
            except BaseException:
                shutil.rmtree(copy, ignore_errors=True)
                raise
        except Exception as error:
            if self._shard is None:
                _LOGGER.info("%s was closed while it was being optimized", self.directory.name)
            else:
                self.optimizer_error = str(error)
                _LOGGER.exception("optimizing %s failed", self.directory.name)
        finally:
            self._missed = self._optimization = None
            self._optimizing.release()

    def _build(self, copy: Path) -> Optimization:
        with self._lock:
            self._open_shard()  # closed meanwhile: nothing is started
            self._optimization = Optimization(copy)
            return self._optimization

    def _copied(self) -> Path:
        """A copy of the shard's files; from here on what is written is kept for it too."""
        with self._lock:
            self._open_shard().flush()
            current = _current_shard(self.directory)
            copy = self.directory / _shard_name(_shard_number(current) + 1)
            shutil.copytree(self.directory / current, copy)
            self._missed = []
            return copy

    def _take(self, copy: Path) -> None:
        """Let an optimized copy catch up, and put it in the shard's place."""
        optimized = edge.EdgeShard.load(str(copy))
        try:
            with self._lock:
                old, replaced = self._open_shard(), _current_shard(self.directory)
                for operation in self._missed or ():
                    optimized.update(operation)
                optimized.flush()
                _write_durably(self.directory / _CURRENT, copy.name)
                self._shard, self._missed = optimized, None
        except BaseException:
            optimized.close()
            raise
        old.close()
        shutil.rmtree(self.directory / replaced)

    def close(self) -> None:
        """Flush and close; an optimization that is running is given up."""
        with self._lock:
            if self._shard is not None:
                self._shard.flush()
                self._shard.close()
                self._shard = None
            if self._optimization is not None:
                self._optimization.cancel()
        with self._optimizing:
            return

    def _open_shard(self) -> edge.EdgeShard:
        if self._shard is None:
            raise NotFound(f"Collection `{self.directory.name}` doesn't exist!", field="collection_name")
        return self._shard


class CollectionDirectory(AbstractContextManager["CollectionDirectory"]):
    """All collections of one directory. Raises Conflict when another process owns it."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        self._owner = _take_ownership(directory)
        self._lock = threading.RLock()
        self._aliases: dict[str, str] = _read_aliases(self._aliases_file)
        self._collections = {found.name: StoredCollection.load(found) for found in self._whole_directories()}

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
            return dict(self._aliases)

    def has(self, name: str) -> bool:
        """Whether a collection or an alias of that name is there."""
        with self._lock:
            return self._aliases.get(name, name) in self._collections

    def collection(self, name: str) -> StoredCollection:
        """By name or alias. Raises NotFound."""
        with self._lock:
            found = self._collections.get(self._aliases.get(name, name))
        if found is None:
            raise NotFound(f"Collection `{name}` doesn't exist!", field="collection_name")
        return found

    def create(self, request: qdrant.CreateCollection) -> None:
        """Raises InvalidInput for a name that cannot be a directory, Conflict when it is taken."""
        name = request.collection_name
        if not _NAME.fullmatch(name):
            raise InvalidInput(
                f"{name!r} cannot name a collection: use letters, digits, '.', '_' and '-'",
                field="collection_name",
            )
        with self._lock:
            if self.has(name):
                raise Conflict(f"Collection `{name}` already exists!", field="collection_name")
            self._collections[name] = StoredCollection.create(
                self._collections_root / name, completed(request)
            )

    def drop(self, name: str) -> bool:
        """Delete a collection, its files and its aliases; false when it was not there."""
        with self._lock:
            found = self._collections.pop(name, None)
            if found is None:
                return False
            (found.directory / "collection.json").unlink()
            found.close()
            shutil.rmtree(found.directory)
            self._keep_aliases({a: target for a, target in self._aliases.items() if target != name})
            return True

    def change_aliases(self, actions: Sequence[qdrant.AliasOperations]) -> None:
        """Apply all actions in one step, or none. Raises NotFound, Conflict."""
        with self._lock:
            aliases = dict(self._aliases)
            for action in actions:
                self._change_alias(aliases, action)
            self._keep_aliases(aliases)

    def _change_alias(self, aliases: dict[str, str], action: qdrant.AliasOperations) -> None:
        match action.WhichOneof("action"):
            case "create_alias":
                alias, target = action.create_alias.alias_name, action.create_alias.collection_name
                if alias in self._collections:
                    raise Conflict(
                        f"`{alias}` is a collection; an alias needs another name", field="alias_name"
                    )
                if target not in self._collections:
                    raise NotFound(f"Collection `{target}` doesn't exist!", field="collection_name")
                aliases[alias] = target
            case "delete_alias":
                aliases.pop(action.delete_alias.alias_name, None)
            case "rename_alias":
                old, new = action.rename_alias.old_alias_name, action.rename_alias.new_alias_name
                if old not in aliases:
                    raise NotFound(f"Alias `{old}` doesn't exist!", field="old_alias_name")
                aliases[new] = aliases.pop(old)

    def _keep_aliases(self, aliases: dict[str, str]) -> None:
        _write_durably(self._aliases_file, json.dumps(aliases, indent=1, sort_keys=True))
        self._aliases = aliases

    @property
    def _aliases_file(self) -> Path:
        return self._directory / "aliases.json"

    @property
    def _collections_root(self) -> Path:
        return self._directory / "collections"

    def _whole_directories(self) -> list[Path]:
        """Collections on disk; what a crash left half made or half dropped is removed."""
        self._collections_root.mkdir(exist_ok=True)
        whole = []
        for found in sorted(self._collections_root.iterdir()):
            if (found / "collection.json").is_file():
                whole.append(found)
            else:
                shutil.rmtree(found)
        return whole


def _shard_name(number: int) -> str:
    return f"shard-{number:06d}"


def _shard_number(name: str) -> int:
    return int(name.partition("-")[2] or 0)


def _current_shard(directory: Path) -> str:
    """The name of a collection's shard directory; a collection made before they were numbered has one."""
    pointer = directory / _CURRENT
    return pointer.read_text() if pointer.is_file() else _UNNUMBERED


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


def _read_aliases(path: Path) -> dict[str, str]:
    if not path.is_file():
        return {}
    aliases: dict[str, str] = json.loads(path.read_text())
    return aliases


def _write_durably(path: Path, text: str) -> None:
    """Replace a file in one step, on disk before this returns."""
    unfinished = path.with_suffix(".unfinished")
    with unfinished.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    unfinished.rename(path)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
