"""`python -m creditline.local.qdrant`: see `creditline.local.qdrant.server`."""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

from creditline.errors import CreditlineError
from creditline.local.qdrant.server import LocalQdrant, run


def main() -> int:
    """Exit status 0 after a graceful stop, 2 when the process could not start."""
    parser = argparse.ArgumentParser(prog="python -m creditline.local.qdrant", description=__doc__)
    parser.add_argument("--directory", type=Path, required=True, help="where collections are kept")
    parser.add_argument("--grpc-port", type=int, default=6334)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--metrics-port", type=int, default=0, help="0 leaves metrics out")
    given = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        run(LocalQdrant(given.directory, given.grpc_port, given.host, given.metrics_port))
    except CreditlineError as error:
        print(f"error: {error.message}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
