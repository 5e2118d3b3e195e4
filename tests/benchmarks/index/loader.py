"""One loader as a process of its own: `python -m tests.benchmarks.index.loader SOURCE COLLECTION PORT N/M`.

Prints one line of JSON: works, seconds, and the most memory that it held.
"""

from __future__ import annotations

import json
import resource
import sys
import tempfile
from pathlib import Path

from creditline.corpus.sources import open_source
from creditline.index import WorkIndex
from creditline.index.ingest.checkpoint import Checkpoint
from creditline.index.ingest.ingest import Ingest, Loader
from creditline.index.ingest.vectors import SourceFeatures


def main() -> None:
    """Load and report."""
    source, collection, port, share = sys.argv[1:5]
    with WorkIndex.connect(grpc_port=int(port)) as index, tempfile.TemporaryDirectory() as kept:
        loader = Loader.parse(share)
        ingest = Ingest(open_source(Path(source)), index, collection, SourceFeatures(), loader)
        report = ingest.run(Checkpoint.open(Path(kept), loader.name, belongs_to=ingest.identity))
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"works": report.written, "seconds": report.seconds, "bytes": most}))


if __name__ == "__main__":
    main()
