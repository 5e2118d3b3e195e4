"""Snapshots of collections: one tar file each, with size, time and checksum; and their restoration.

DIRECTORY/snapshots/COLLECTION/NAME.snapshot            the collection's directory, shard by shard
DIRECTORY/snapshots/COLLECTION/NAME.snapshot.checksum   its SHA-256; written before the snapshot

`python -m creditline.local.qdrant restore` restores a collection while no process owns the directory.
"""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import tarfile
import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING

from google.protobuf import json_format

from creditline.errors import Conflict, InvalidInput, NotFound
from creditline.files import remove_drafts, replace_file, sync_directory
from creditline.local.qdrant.storage.collection import SETTINGS, StoredCollection
from creditline.local.qdrant.storage.disk_space import DiskSpace, used_bytes
from creditline.local.qdrant.storage.durability import sync_files, write_durably
from creditline.local.qdrant.storage.optimizing import read_settings
from creditline.local.qdrant.storage.shard import CURRENT

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_SUFFIX = ".snapshot"
_CHECKSUM = ".checksum"
_UNFINISHED = ".unfinished"
_BLOCK_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True)
class Snapshot:
    """A complete snapshot."""

    path: Path
    """The tar file."""
    checksum: str
    """SHA-256 of the file, in hexadecimal."""

    @property
    def name(self) -> str:
        """File name."""
        return self.path.name

    @property
    def size(self) -> int:
        """Size of the file in bytes."""
        return self.path.stat().st_size

    @property
    def created(self) -> datetime:
        """Time of creation, in UTC."""
        return datetime.fromtimestamp(self.path.stat().st_mtime, UTC)


class Snapshots:
    """The snapshots of all collections. Unfinished files that a crash left are removed at the start.

    Args:
        root: directory of the snapshots.
        disk_space: checks for free disk space before a snapshot is written.
    """

    def __init__(self, root: Path, disk_space: DiskSpace) -> None:
        self._root = root
        self._disk_space = disk_space
        self._making = threading.Lock()
        remove_drafts(root)
        for unfinished in root.glob(f"*/*{_UNFINISHED}"):  # the file names of earlier versions
            unfinished.unlink()

    def create(self, collection: StoredCollection) -> Snapshot:
        """Write a snapshot of a collection. Writes wait meanwhile, reads do not.

        Raises:
            ResourceExhausted: The disk has too little free space.
        """
        name = collection.directory.name
        folder = self._root / name
        with self._making:
            self._disk_space.require("a snapshot", used_bytes(collection.directory))
            folder.mkdir(parents=True, exist_ok=True)
            path = folder / f"{name}-{datetime.now(UTC):%Y-%m-%d-%H-%M-%S-%f}{_SUFFIX}"
            with replace_file(path, durable=True) as draft:
                checksum = _pack(collection, draft)
                write_durably(path.with_name(path.name + _CHECKSUM), checksum)
        return Snapshot(path, checksum)

    def list(self, collection: str) -> list[Snapshot]:
        """The snapshots of a collection, oldest first."""
        found = sorted((self._root / collection).glob(f"*{_SUFFIX}"))
        return [Snapshot(path, path.with_name(path.name + _CHECKSUM).read_text()) for path in found]

    def delete(self, collection: str, name: str) -> None:
        """Delete a snapshot. Raises NotFound if it does not exist."""
        for snapshot in self.list(collection):
            if snapshot.name == name:
                snapshot.path.unlink()
                snapshot.path.with_name(name + _CHECKSUM).unlink(missing_ok=True)
                return
        raise NotFound(f"Snapshot `{name}` of `{collection}` doesn't exist!", field="snapshot_name")


def restore(snapshot: Path, directory: Path, collection: str) -> None:
    """Restore a collection from a snapshot.

    Args:
        snapshot: the snapshot file.
        directory: the data directory, which no process may own.
        collection: name of the new collection.

    Raises:
        NotFound: The snapshot file does not exist.
        InvalidInput: The snapshot is damaged or incomplete.
        Conflict: The collection exists already.
        ResourceExhausted: The disk has too little free space.
    """
    if not snapshot.is_file():
        raise NotFound(
            f"snapshot {snapshot} does not exist; give the path of a snapshot file", field="snapshot"
        )
    home = directory / "collections" / collection
    if (home / SETTINGS).exists():
        raise Conflict(
            f"collection {collection!r} exists already; drop it first or choose another name",
            field="collection",
        )
    _check_checksum(snapshot)
    DiskSpace(directory).require("the restored collection", snapshot.stat().st_size)
    shutil.rmtree(home, ignore_errors=True)
    _unpack(snapshot, home)
    settings = home / (SETTINGS + _UNFINISHED)
    sync_files(home)
    sync_directory(home)
    # The settings file marks a complete collection, so it gets its name last.
    settings.rename(home / SETTINGS)
    sync_directory(home)
    sync_directory(home.parent)


def _pack(collection: StoredCollection, path: Path) -> str:
    """Write the tar file durably; returns its SHA-256."""
    with path.open("wb", buffering=0) as file:
        hashed = _Hashed(file)
        with (
            io.BufferedWriter(hashed, _BLOCK_BYTES) as buffered,
            tarfile.TarFile(fileobj=buffered, mode="w", copybufsize=_BLOCK_BYTES) as tar,
            collection.held() as directories,
        ):
            for number, directory in enumerate(directories):
                _add_text(tar, f"{number}/{CURRENT}", directory.name)
                tar.add(directory, f"{number}/{directory.name}")
            # Last, so that a truncated file lacks it.
            tar.add(collection.directory / SETTINGS, SETTINGS + _UNFINISHED)
        os.fsync(file.fileno())
    return hashed.hexdigest()


def _add_text(tar: tarfile.TarFile, name: str, text: str) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(text.encode())
    tar.addfile(member, io.BytesIO(text.encode()))


def _check_checksum(snapshot: Path) -> None:
    """Raises InvalidInput if the file does not match its checksum; a file without one is accepted."""
    expected = snapshot.with_name(snapshot.name + _CHECKSUM)
    if not expected.is_file():
        return
    with snapshot.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != expected.read_text():
        raise InvalidInput(
            f"snapshot {snapshot} is damaged: its SHA-256 is {found}, but should be {expected.read_text()}; "
            "use another snapshot",
            field="snapshot",
        )


def _unpack(snapshot: Path, home: Path) -> None:
    try:
        with tarfile.open(snapshot) as tar:
            _refuse_foreign(tar, home)
            tar.extractall(home)
        read_settings(home / (SETTINGS + _UNFINISHED))
    except (tarfile.TarError, json_format.ParseError, OSError) as failure:
        shutil.rmtree(home, ignore_errors=True)
        raise InvalidInput(
            f"snapshot {snapshot} is incomplete or damaged: {failure}; use another snapshot", field="snapshot"
        ) from failure


def _refuse_foreign(tar: tarfile.TarFile, home: Path) -> None:
    """Raise TarError for members that no snapshot has: links, devices, and paths outside the directory.

    `extractall(filter="data")` would do so too, but only from Python 3.11.4 on.
    """
    # What later versions of Python then apply besides, and ask for.
    tar.extraction_filter = getattr(tarfile, "data_filter", None)
    allowed = home.resolve()
    for member in tar:
        inside = (home / member.name).resolve().is_relative_to(allowed)
        if not (inside and (member.isfile() or member.isdir())):
            raise tarfile.TarError(f"{member.name} is no file or directory of a snapshot")


class _Hashed(io.RawIOBase):
    """A file that computes the SHA-256 of all bytes written to it."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._digest = hashlib.sha256()
        self._written = 0

    def tell(self) -> int:
        return self._written

    def writable(self) -> bool:
        return True

    def write(self, block: ReadableBuffer) -> int:
        written = self._file.write(block)
        self._digest.update(memoryview(block)[:written])
        self._written += written
        return written

    def hexdigest(self) -> str:
        return self._digest.hexdigest()
