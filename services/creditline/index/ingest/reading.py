"""The rows of a source that are still to be ingested, part by part."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from creditline.corpus.sources import Found, Source, read_ahead
from creditline.index.ingest.checkpoint import Checkpoint

MOST_BATCH_BYTES = 64 << 20
"""Bytes of pictures at which a batch ends, however few rows it has."""


@dataclass(frozen=True)
class PartEnd:
    """The end of a part, between the rows of a source."""

    part: str
    """Name of the part."""
    fingerprint: str
    """Fingerprint of the part when it was begun."""


class Reading:
    """The rows of a source that a checkpoint does not record, with the end of each part.

    Args:
        source: The source.
        parts: Names of the parts to read.
        checkpoint: What was read before.
        check_pictures: Whether every picture is decoded as a check.
    """

    def __init__(
        self, source: Source, parts: Sequence[str], checkpoint: Checkpoint, *, check_pictures: bool
    ) -> None:
        self._read = source.read if check_pictures else source.rows
        self._fingerprints: dict[str, str] = {}
        # The checkpoint advances while parts are read: where each part starts is decided now.
        self._starts: list[tuple[str, int]] = []
        self.changed: list[str] = []
        """Parts that have changed since they were read."""
        for part in parts:
            mark = source.part_fingerprint(part)
            start = checkpoint.start_of(part, mark)
            if start is None:
                continue
            self._fingerprints[part] = mark
            self._starts.append((part, start))
            if start == 0 and checkpoint.has_read(part):
                self.changed.append(part)

    def fingerprint(self, part: str) -> str:
        """Fingerprint of a part that is read; empty for another."""
        return self._fingerprints.get(part, "")

    def __iter__(self) -> Iterator[Found | PartEnd]:
        for part, start in self._starts:
            yield from read_ahead(self._read(part, start))
            yield PartEnd(part, self._fingerprints[part])


def next_batch(
    rows: Iterator[Found | PartEnd], most_rows: int, most_bytes: int = MOST_BATCH_BYTES
) -> list[Found | PartEnd]:
    """The next rows, with the ends of parts between them.

    Args:
        rows: Rows and ends of parts.
        most_rows: Number of rows at which the batch ends.
        most_bytes: Bytes of pictures at which the batch ends; the last picture may exceed them.

    Returns:
        The batch; empty at the end of the source.
    """
    batch: list[Found | PartEnd] = []
    found = size = 0
    while found < most_rows and size < most_bytes and (each := next(rows, None)) is not None:
        batch.append(each)
        if isinstance(each, Found):
            found += 1
            size += len(each.work.thumbnail) if each.work else 0
    return batch
