"""The local Qdrant: serves Qdrant's gRPC API, or restores a snapshot with the subcommand `restore`."""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

from creditline.errors import CreditlineError
from creditline.local.qdrant.api.server import LocalQdrant, run
from creditline.local.qdrant.storage.directory import checked_name, owned
from creditline.local.qdrant.storage.snapshots import restore

_PROGRAM = "python -m creditline.local.qdrant"


def main() -> int:
    """Run the command; returns exit status 0 after a graceful stop, 2 after an error."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        if sys.argv[1:2] == ["restore"]:
            _restore(sys.argv[2:])
        else:
            _serve(sys.argv[1:])
    except CreditlineError as error:
        print(f"error: {error.message}", file=sys.stderr)
        return 2
    return 0


def _serve(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog=_PROGRAM, description=__doc__)
    parser.add_argument("--directory", type=Path, required=True, help="data directory")
    parser.add_argument("--grpc-port", type=int, default=6334, help="port of the gRPC server (default: 6334)")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1)")
    parser.add_argument(
        "--metrics-port", type=int, default=0, help="port of the Prometheus metrics; 0: no metrics"
    )
    parser.add_argument(
        "--kill-after-alias-actions",
        type=int,
        default=0,
        metavar="N",
        help="for fault tests: end as by kill -9 after N alias actions have been saved; 0: never",
    )
    run(LocalQdrant(**vars(parser.parse_args(arguments))))


def _restore(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(
        prog=f"{_PROGRAM} restore",
        description="Restore a collection from a snapshot while no process owns the data directory.",
    )
    parser.add_argument("--directory", type=Path, required=True, help="data directory")
    parser.add_argument(
        "--snapshot", type=Path, required=True, help="a snapshot file, below DIRECTORY/snapshots or elsewhere"
    )
    parser.add_argument("--collection", required=True, help="name of the new collection")
    given = parser.parse_args(arguments)
    given.directory.mkdir(parents=True, exist_ok=True)
    with owned(given.directory):
        restore(given.snapshot, given.directory, checked_name(given.collection))
