"""Files beside a picture that describe it: XMP, an SVG original, and tables of exiftool."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path, PurePosixPath
from typing import Any

from creditline.corpus.embedded.containers.blocks import MOST_BLOCK_BYTES
from creditline.corpus.embedded.exiftool import TABLE_NAMES, row_of

SUFFIXES = (".xmp", ".svg")
"""Endings of files beside a picture; both `a.xmp` and `a.jpg.xmp` describe `a.jpg`."""


def sidecar_record(root: Path, place: PurePosixPath, names: Collection[str]) -> dict[str, Any]:
    """The sidecars of a picture, by field; empty without any.

    Args:
        root: The directory that was opened as a source.
        place: Path of the picture relative to `root`.
        names: Names of all files in the picture's directory.

    Raises:
        OSError: A sidecar cannot be read.
    """
    record: dict[str, Any] = {}
    for suffix in SUFFIXES:
        beside = [name for name in (f"{place.stem}{suffix}", f"{place.name}{suffix}") if name in names]
        packets = [_content(root / place.parent / name) for name in beside]
        if packets:
            record[suffix[1:]] = packets
    for above in place.parents:
        for table in (root / above / name for name in TABLE_NAMES):
            row = row_of(table, place.relative_to(above)) if table.is_file() else None
            if row is not None:
                record.setdefault("exiftool", row)
    return record


def _content(path: Path) -> bytes:
    """The content of a sidecar, one byte more than is parsed at most."""
    with path.open("rb") as file:
        return file.read(MOST_BLOCK_BYTES + 1)
