"""What files hold, read again when they change."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Generic, TypeVar

from creditline.errors import CreditlineError

CHECK_SECONDS = 1.0
"""Files are looked at when their content is needed, but not more often."""
_Content = TypeVar("_Content")
# Identity, size and time of change of each file; None for one that cannot be examined.
_State = tuple[tuple[int, int, int] | None, ...]
_log = logging.getLogger(__name__)


class Followed(Generic[_Content]):
    """The content of some files, safe to use from several threads.

    A mounted secret is replaced file by file, or with one link, while its readers run. Where the new files
    cannot be used, the content that was read last stays, and the reason is logged once.

    Args:
        paths: The files.
        read: Reads and checks them all; raises CreditlineError.

    Raises:
        CreditlineError: The files cannot be used now, at the start.
    """

    def __init__(self, paths: Sequence[Path], read: Callable[[], _Content]) -> None:
        self._paths = tuple(paths)
        self._read = read
        self._lock = threading.Lock()
        self._state = _state_of(self._paths)
        self._content = read()
        self._checked = time.monotonic()
        self._problem = ""

    def current(self) -> _Content:
        """The content now; the same object until it changes."""
        with self._lock:
            if time.monotonic() - self._checked >= CHECK_SECONDS:
                self._refresh()
                self._checked = time.monotonic()
            return self._content

    def _refresh(self) -> None:
        # Examined before they are read: a change in between is noticed the next time.
        state = _state_of(self._paths)
        if state == self._state and not self._problem:
            return
        try:
            self._content = self._read()
        except CreditlineError as error:
            self._warn_once(error.message)
        else:
            _log.info("read again after a change: %s", ", ".join(map(str, self._paths)))
            self._problem = ""
        self._state = state

    def _warn_once(self, problem: str) -> None:
        if problem != self._problem:
            _log.error("%s; what was read before stays in use", problem)
        self._problem = problem


def _state_of(paths: Sequence[Path]) -> _State:
    return tuple(map(_file_state, paths))


def _file_state(path: Path) -> tuple[int, int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns
