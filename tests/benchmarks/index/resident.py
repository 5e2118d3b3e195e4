"""What memory an engine holds after it has answered.

`python -m tests.benchmarks.index.resident edge PATH` (or `faiss WORKS`) prints JSON: bytes that it must hold,
and bytes of files that the kernel may drop at any time (whole vectors and payload, on disk by plan).
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from tests.benchmarks.index.footprint import in_memory

_QUERIES = 500
_EF = 256


def main() -> None:
    """Open, answer, and report."""
    from tests.benchmarks.index.engines import BareEdge, FaissHnsw
    from tests.benchmarks.index.running import corpus_of

    kind, place = sys.argv[1:3]
    queries = corpus_of(1).queries(_QUERIES)
    before, _ = in_memory(os.getpid())
    if kind == "edge":
        shard = BareEdge(Path(place), listed=False)
        for query in queries.tolist():
            shard.nearest(query, _EF)
    else:
        rival = FaissHnsw(int(place))
        for query in queries:
            rival.nearest(query, _EF)
    must, may = in_memory(os.getpid())
    print(json.dumps({"must": must - before, "may": may}))


if __name__ == "__main__":
    main()
