"""What memory an engine holds after it has answered.

`python -m tests.benchmarks.index.resident edge PATH` (or `faiss WORKS`) prints JSON: bytes that it must hold,
and bytes of files that the kernel may drop at any time (whole vectors and payload, on disk by plan).
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

# Files that a plan keeps on disk; their pages are a cache.
_ON_DISK = re.compile(r"/vector_storage/(vectors|matrix)|/payload_storage/")
_QUERIES = 500
_EF = 256


def held() -> tuple[int, int]:
    """Bytes of this process in memory: without those of files that are on disk by plan, and those alone."""
    must, may, mapped = 0, 0, ""
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if re.match(r"[0-9a-f]+-[0-9a-f]+ ", line):
            mapped = line.partition("/")[2]
        elif line.startswith("Rss:"):
            size = int(line.split()[1]) * 1024
            if _ON_DISK.search(f"/{mapped}"):
                may += size
            else:
                must += size
    return must, may


def main() -> None:
    """Open, answer, and report."""
    from tests.benchmarks.index.engines import BareEdge, FaissHnsw
    from tests.benchmarks.index.running import corpus_of

    kind, place = sys.argv[1:3]
    queries = corpus_of(1).queries(_QUERIES)
    before, _ = held()
    if kind == "edge":
        shard = BareEdge(Path(place))
        for query in queries.tolist():
            shard.nearest(query, _EF)
    else:
        rival = FaissHnsw(int(place))
        for query in queries:
            rival.nearest(query, _EF)
    must, may = held()
    print(json.dumps({"must": must - before, "may": may}))


if __name__ == "__main__":
    main()
