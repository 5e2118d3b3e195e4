"""Rows that are read ahead: all of them, in order, few at once, and with the error in its place."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from creditline.corpus.sources.ahead import read_ahead
from creditline.corpus.sources.found import Found, found_broken
from creditline.corpus.works import Work
from creditline.errors import InvalidInput
from tests.processes import wait_until


def _rows(count: int, *, picture_bytes: int = 0, read: list[int] | None = None) -> Iterator[Found]:
    for row in range(count):
        if read is not None:
            read.append(row)
        work = Work(str(row), "", "a barn", (), "Ann", "", "", "", bytes(picture_bytes))
        yield Found("part", row, work, None, None, "")


def test_all_rows_come_in_order() -> None:
    assert [found.row for found in read_ahead(_rows(2_000))] == list(range(2_000))
    assert list(read_ahead(iter(()))) == []


@pytest.mark.parametrize(("picture_bytes", "held"), [(0, 256), (20 << 20, 3), (100 << 20, 1)])
def test_few_rows_and_few_bytes_are_held(picture_bytes: int, held: int) -> None:
    read: list[int] = []
    rows = read_ahead(_rows(1_000, picture_bytes=picture_bytes, read=read))
    assert next(rows).row == 0
    # The row that was taken, those that are held, and the one that waits for room.
    wait_until(lambda: len(read) == held + 2, "the reader has read all that it may")
    rows.close()
    assert len(read) == held + 2


def test_an_error_is_raised_after_the_rows_before_it_and_the_thread_ends() -> None:
    def failing() -> Iterator[Found]:
        yield found_broken("part", 0, "no picture")
        raise InvalidInput("the shard is cut off")

    rows = read_ahead(failing())
    assert next(rows).broken == "no picture"
    with pytest.raises(InvalidInput, match="the shard is cut off"):
        next(rows)
    assert "read-ahead" not in {thread.name for thread in threading.enumerate()}
