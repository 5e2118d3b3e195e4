"""Files and directories replaced in one step: a reader sees the old content or the new, never a part.

What is being written lies in a temporary directory beside its target, under its final name. Two writers
never share a draft, also when they run in two containers whose processes have the same number.
"""

from __future__ import annotations

import errno
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
# The name in front of the random part is only for people; the longest name that a file may have is 255 bytes.
_NAME_CHARACTERS = 50
_SWAP_ATTEMPTS = 20


@contextmanager
def replace_file(path: Path, *, durable: bool = False, mode: int | None = None) -> Iterator[Path]:
    """Create or replace a file: the block writes a draft, which takes the file's name when the block ends.

    ``with replace_file(path) as draft: np.save(draft, rows)``

    When the block raises, the draft is removed and the file stays as it was. Of two writers at once, the one
    that ends last wins.

    Args:
        path: The file to create or replace. Its directory must exist.
        durable: Whether content and name are on disk (fsync) before this returns. A killed process loses
            nothing either way; a power loss may.
        mode: Permission bits of the file. None: those of an ordinary new file (0666 less the umask), also
            where the writer sets others, as safetensors does.

    Yields:
        Path of an empty file with the name of `path`, and so with its suffix, in a temporary directory.

    Raises:
        OSError: When the directory is missing or cannot be written to.
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
    """Create or replace a directory: the block fills a draft, which takes the name when the block ends.

    When the block raises, the draft is removed and the directory stays as it was. A directory that is not
    empty cannot be renamed over, so for a moment between two renames there is none.

    Args:
        path: The directory to create or replace. Its parent must exist.
        durable: Whether contents and names are on disk (fsync) before this returns.

    Yields:
        Path of an empty directory with the name of `path`.

    Raises:
        Conflict: When other processes keep replacing the same directory.
        OSError: When the parent is missing or cannot be written to, or `path` is a file.
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
    """Remove what killed processes left unfinished in a directory and below.

    Args:
        directory: A directory to which no other process writes now; it may be missing.
    """
    for left in list(directory.rglob(f".*{_DRAFT}")):
        shutil.rmtree(left, ignore_errors=True)


def sync_directory(directory: Path) -> None:
    """Put a directory's names on disk."""
    _sync(directory)


def sync_tree(directory: Path) -> None:
    """Put all files of a tree and their names on disk; files that vanish meanwhile are passed over."""
    for root, _, names in os.walk(directory):
        for name in names:
            with suppress(FileNotFoundError):
                _sync(Path(root) / name)
        with suppress(FileNotFoundError):
            _sync(Path(root))


@contextmanager
def _drafting(path: Path) -> Iterator[Path]:
    """Where the draft of `path` goes; whatever is left there in the end is removed."""
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
        # Into the draft's own directory, which is removed at the end. Another process may be quicker.
        with suppress(FileNotFoundError):
            path.rename(draft.with_name(f"replaced-{attempt}"))
    raise Conflict(
        f"{path} was replaced by other processes {_SWAP_ATTEMPTS} times meanwhile; let one process at a time"
        " write it",
        field="directory",
    )


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
