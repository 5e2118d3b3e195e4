"""The files of a source, found below one path, in a stable order."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from creditline.errors import NotFound

# Directory that macOS adds to archives.
_LEFT_OUT = "__MACOSX"


@dataclass(frozen=True)
class SourceFiles:
    """Files below a directory, or a single file."""

    root: Path
    """The directory."""
    names: tuple[str, ...]
    """Paths of the files relative to `root`, with `/` as separator."""

    @classmethod
    def find(cls, root: Path, *suffixes: str) -> SourceFiles:
        """All visible files below `root` with these suffixes; if `root` is a file, that file alone."""
        if root.is_file():
            return cls(root.parent, (root.name,))
        return cls(root, tuple(name for name in visible_files(root) if name.lower().endswith(suffixes)))

    def path(self, name: str) -> Path:
        """The path of a file.

        Raises:
            NotFound: There is no file of that name.
        """
        if name not in self._known:
            raise NotFound(
                f"there is no part {name!r} in {self.root}; it has {len(self.names)} parts", field="part"
            )
        return self.root / name

    @cached_property
    def _known(self) -> frozenset[str]:
        return frozenset(self.names)

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        """Sizes of the files in bytes, in the order of `names`."""
        return tuple(size_of(self.root / name) for name in self.names)

    @property
    def fingerprint(self) -> str:
        """SHA-256 over the names and sizes of the files: 64 hex digits."""
        return fingerprint_of(self.names, self.sizes)


def size_of(path: Path) -> int:
    """Size of a file in bytes; 0 for a broken link."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def fingerprint_of(names: Sequence[str], sizes: Sequence[int]) -> str:
    """SHA-256 over names and sizes of files: 64 hex digits."""
    digest = hashlib.sha256()
    for name, size in zip(names, sizes, strict=True):
        digest.update(f"{name}\0{size}\0".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def visible_files(root: Path) -> Iterator[str]:
    """Paths of visible files relative to `root`, directory by directory in the order of names."""
    for directory, names in visible_directories(root):
        yield from (f"{directory}/{name}" if directory else name for name in names)


def visible_directories(root: Path) -> Iterator[tuple[str, list[str]]]:
    """Each directory's path relative to `root` (empty for `root`) and its files, in the order of names."""
    for path, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if _is_visible(name))
        inner = os.path.relpath(path, root)
        directory = "" if inner == os.curdir else inner.replace(os.sep, "/")
        yield directory, sorted(filter(_is_visible, names))


def _is_visible(name: str) -> bool:
    return not name.startswith(".") and name != _LEFT_OUT
