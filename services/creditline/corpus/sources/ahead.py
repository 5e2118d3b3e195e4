"""Rows of a source read ahead in a thread, while the caller works on earlier ones."""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator, Iterable
from contextlib import closing

from creditline.corpus.sources.found import Found

_MOST_ROWS = 256
_MOST_BYTES = 64 << 20
_LOOK_SECONDS = 0.1


def read_ahead(rows: Iterable[Found]) -> Generator[Found, None, None]:
    """The same rows, read (and their pictures checked) in a thread of its own.

    At most 256 rows or 64 MiB of pictures are held, or one larger picture. The thread ends with the
    generator.

    Raises:
        Exception: The error that reading a row raises, in its place.
    """
    with closing(_Reader(rows)) as reader:
        while (item := reader.next()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item


class _Reader:
    """A thread that reads rows into a queue."""

    def __init__(self, rows: Iterable[Found]) -> None:
        self._rows = rows
        self._queue: queue.SimpleQueue[Found | BaseException | None] = queue.SimpleQueue()
        self._changed = threading.Condition()
        self._held_rows = self._held_bytes = 0
        self._closed = False
        self._thread = threading.Thread(target=self._read, name="read-ahead", daemon=True)
        self._thread.start()

    def next(self) -> Found | BaseException | None:
        """The next row, the error in its place, or None at the end."""
        item = self._queue.get()
        if isinstance(item, Found):
            with self._changed:
                self._held_rows -= 1
                self._held_bytes -= _size(item)
                self._changed.notify()
        return item

    def close(self) -> None:
        """End the thread after the row that it is reading."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def _read(self) -> None:
        try:
            for found in self._rows:
                if not self._hold(_size(found)):
                    return
                self._queue.put(found)
            self._queue.put(None)
        except BaseException as error:  # raised again in the caller's thread
            self._queue.put(error)

    def _hold(self, size: int) -> bool:
        """Wait for room for a row of `size` bytes; false when the reader is closed."""
        with self._changed:
            while not self._closed and self._held_rows and not self._has_room(size):
                self._changed.wait(_LOOK_SECONDS)
            self._held_rows += 1
            self._held_bytes += size
            return not self._closed

    def _has_room(self, size: int) -> bool:
        return self._held_rows < _MOST_ROWS and self._held_bytes + size <= _MOST_BYTES


def _size(found: Found) -> int:
    return len(found.work.thumbnail) if found.work else 0
