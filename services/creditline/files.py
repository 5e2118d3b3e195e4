"""Atomic replacement of files and directories: a reader sees the old content or the new, never a part of it.

The new content is written as a draft, under its final name, in a temporary directory beside the target. Two
writers never share a draft, not even when they run in two containers and have the same process number.
"""

from __future__ import annotations

import errno
import glob
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from creditline.errors import Conflict

_DRAFT = ".draft"
_NEW_FILE_MODE = 0o666
# The target's name in front of the random part is only for human readers; a file name has at most 255 bytes.
_NAME_CHARACTERS = 50
_SWAP_ATTEMPTS = 20


@contextmanager
def replace_file(path: Path, *, durable: bool = False, mode: int | None = None) -> Iterator[Path]:
    """Create or replace a file atomically: the block writes a draft, which is renamed when the block ends.

    ``with replace_file(path) as draft: np.save(draft, rows)``

    When the block raises, the draft is removed and the file stays unchanged. Of two concurrent writers, the
    one that ends last wins.

    Args:
        path: The file to create or replace. Its directory must exist.
        durable: Whether content and name are flushed to disk (fsync) before this returns. Without it, a power
            loss may lose the new content; the end of the process does not.
        mode: Permission bits of the file. None: those of an ordinary new file (0666 less the umask), even
            where the writing library sets others, as safetensors does.

    Yields:
        Path of an empty file with the name (and so the suffix) of `path`, in a temporary directory.

    Raises:
        OSError: The directory is missing or cannot be written to.
    """
    with _drafting(path) as draft:
        draft.touch(_NEW_FILE_MODE if mode is None else mode)
        wanted = stat.S_IMODE(draft.stat().st_mode) if mode is None else mode
        yield draft
        if stat.S_IMODE(draft.stat().st_mode) != wanted:
            draft.chmod(wanted)
        if durable:
            _sync(draft)
        os.replace(draft, path)
    if durable:
        sync_directory(path.parent)


@contextmanager
def replace_directory(path: Path, *, durable: bool = False) -> Iterator[Path]:
    """Create or replace a directory: the block fills a draft, which is renamed when the block ends.

    When the block raises, the draft is removed and the directory stays unchanged. A rename cannot replace a
    directory that is not empty, so for a moment between two renames no directory has the name.

    Args:
        path: The directory to create or replace. Its parent must exist.
        durable: Whether contents and names are flushed to disk (fsync) before this returns.

    Yields:
        Path of an empty directory with the name of `path`.

    Raises:
        Conflict: Other processes keep replacing the same directory.
        OSError: The parent is missing or cannot be written to, or `path` is a file.
    """
    with _drafting(path) as draft:
        draft.mkdir()
        yield draft
        if durable:
            sync_tree(draft)
        _swap_in(draft, path)
    if durable:
        sync_directory(path.parent)


def remove_drafts(directory: Path) -> None:
    """Remove the drafts that killed processes left in a directory tree.

    Args:
        directory: Root of the tree, to which no other process writes now; it may be missing.
    """
    for left in list(directory.rglob(f".*{_DRAFT}")):
        shutil.rmtree(left, ignore_errors=True)


def draft_pattern(path: Path) -> str:
    """Glob pattern, within the parent of `path`, of the directories that hold its drafts."""
    return f".{glob.escape(path.name[:_NAME_CHARACTERS])}.*{_DRAFT}"


def sync_directory(directory: Path) -> None:
    """Flush a directory's entries (file names) to disk with fsync."""
    _sync(directory)


def sync_tree(directory: Path) -> None:
    """Flush all files and directories of a tree to disk with fsync; files deleted meanwhile are skipped."""
    for root, _, names in os.walk(directory):
        for name in names:
            with suppress(FileNotFoundError):
                _sync(Path(root) / name)
        with suppress(FileNotFoundError):
            _sync(Path(root))


@contextmanager
def _drafting(path: Path) -> Iterator[Path]:
    """Path of the draft of `path`, in a temporary directory that is removed at the end."""
    with TemporaryDirectory(
        prefix=f".{path.name[:_NAME_CHARACTERS]}.", suffix=_DRAFT, dir=path.parent
    ) as folder:
        yield Path(folder) / path.name


def _swap_in(draft: Path, path: Path) -> None:
    for attempt in range(_SWAP_ATTEMPTS):
        try:
            os.replace(draft, path)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
        else:
            return
        # Move the old directory next to the draft, to be removed with it; another process may be faster.
        with suppress(FileNotFoundError):
            path.rename(draft.with_name(f"replaced-{attempt}"))
    raise Conflict(
        f"{path} was replaced by other processes {_SWAP_ATTEMPTS} times during this write; let only one"
        " process at a time write it",
        field="directory",
    )


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
