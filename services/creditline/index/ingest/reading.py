"""The rows of a source that are still to be ingested, part by part."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from creditline.corpus.sources import Found, Source, read_ahead
from creditline.index.ingest.checkpoint import Checkpoint


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
    """

    def __init__(self, source: Source, parts: Sequence[str], checkpoint: Checkpoint) -> None:
        self._source = source
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
            yield from read_ahead(self._source.read(part, start))
            yield PartEnd(part, self._fingerprints[part])


def next_batch(rows: Iterator[Found | PartEnd], size: int) -> list[Found | PartEnd]:
    """The next `size` rows, with the ends of parts between them; empty at the end of the source."""
    batch: list[Found | PartEnd] = []
    found = 0
    while found < size and (each := next(rows, None)) is not None:
        batch.append(each)
        found += isinstance(each, Found)
    return batch
