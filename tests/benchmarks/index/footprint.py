"""What a collection takes: bytes of its files by what they are for, and memory of its process."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

_BLOCK = 512
# The first that matches tells what a file is for.
_KINDS = (
    ("codes", re.compile(r"/vector_storage/quantized")),
    ("vectors", re.compile(r"/vector_storage/")),
    ("graph", re.compile(r"/vector_index/")),
    ("ids", re.compile(r"/(mutable_)?id_tracker")),
    ("withdrawn", re.compile(r"/payload_index/.*withdraw")),
    ("fields", re.compile(r"/payload_index/")),
    ("payload", re.compile(r"/payload_storage/")),
    ("log", re.compile(r"/wal/")),
)


@dataclass(frozen=True)
class Footprint:
    """Bytes on disk by kind, as the file system gave them out."""

    by_kind: dict[str, int]

    @property
    def total(self) -> int:
        return sum(self.by_kind.values())


def on_disk(directory: Path) -> Footprint:
    """All files below a directory; holes of sparse files take nothing."""
    found: dict[str, int] = {}
    for path in directory.rglob("*"):
        if path.is_file():
            kind = next((name for name, pattern in _KINDS if pattern.search(str(path))), "other")
            found[kind] = found.get(kind, 0) + path.stat().st_blocks * _BLOCK
    return Footprint(found)


def in_memory(pid: int) -> tuple[int, int]:
    """Bytes that a process must hold, and bytes of files on disk by plan that the kernel may drop."""
    must, may, mapped = 0, 0, ""
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        if re.match(r"[0-9a-f]+-[0-9a-f]+ ", line):
            mapped = "/" + line.partition("/")[2]
        elif line.startswith("Rss:"):
            size = int(line.split()[1]) * 1024
            if re.search(r"/vector_storage/(vectors|matrix|deleted)|/payload_storage/", mapped):
                may += size
            else:
                must += size
    return must, may
