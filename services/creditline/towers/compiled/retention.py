"""Which entries of the cache of compiled towers are kept: those that are used, and not too many of them.

Each new release and each new version of torch or ONNX Runtime leaves an entry of about 100 MB behind.
"""

from __future__ import annotations

import fcntl
import logging
import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from creditline.retries import RetryPolicy

UNUSED_SECONDS = 30 * 86_400.0
"""An entry that no process opened for so long is removed."""
MOST_ENTRIES = 8
"""Beyond this number, entries are removed that were opened longest ago."""
_ENTRY_NAME = re.compile(r"[0-9a-f]{32}-[0-9a-f]{16}")
_DRAFT_NAME = re.compile(r"\.[0-9a-f]{32}-.*\.draft")
# A process that removes an entry holds its lock for the length of a rename.
_AFTER_REMOVAL = RetryPolicy.polling(0.01, for_seconds=1)
_LOGGER = logging.getLogger(__name__)


@contextmanager
def in_use(entry: Path) -> Iterator[None]:
    """Note that an entry is opened now, and keep other processes from removing it during the block.

    Without effect where there is no such entry, or its file system allows neither times nor locks: then
    nothing is removed there either.

    Args:
        entry: Directory of the entry.
    """
    with ExitStack() as held:
        with suppress(OSError):
            descriptor = held.enter_context(_opened(entry))
            _AFTER_REMOVAL.call(
                lambda: fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB),
                transient=lambda error: isinstance(error, BlockingIOError),
            )
            os.utime(descriptor)
        yield


def remove_unused(cache: Path, kept: Path) -> None:
    """Remove entries that nobody has opened for long, or that are too many, and old drafts.

    An entry that another process is reading stays. What cannot be removed stays too, until another time.

    Args:
        cache: Directory of the cache; files and directories of other names are left alone.
        kept: Directory of the entry that this process uses.
    """
    with suppress(OSError):
        used = {path: path.stat().st_mtime for path in cache.iterdir()}
        entries = sorted(
            (path for path in used if _ENTRY_NAME.fullmatch(path.name) and path != kept),
            key=lambda path: used[path],
            reverse=True,
        )
        oldest = time.time() - UNUSED_SECONDS
        for number, entry in enumerate(entries, start=2):
            if number > MOST_ENTRIES or used[entry] < oldest:
                with suppress(OSError):
                    _remove(entry, used[entry])
        for path in used:
            if _DRAFT_NAME.fullmatch(path.name) and used[path] < oldest:
                shutil.rmtree(path, ignore_errors=True)


def _remove(entry: Path, used: float) -> None:
    """Remove an entry, unless it was opened since. Raises OSError where a process reads it."""
    draft = TemporaryDirectory(prefix=f".{entry.name}.", suffix=".draft", dir=entry.parent)
    # Renamed first, so that nobody finds a part of it.
    with draft as folder:
        with _opened(entry) as descriptor:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.stat(descriptor).st_mtime != used:
                return
            os.rename(entry, Path(folder) / entry.name)
        _LOGGER.info(
            "removed compiled towers that were last used %.0f days ago: %s", _days_since(used), entry
        )


def _days_since(moment: float) -> float:
    return (time.time() - moment) / 86_400.0


@contextmanager
def _opened(directory: Path) -> Iterator[int]:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
