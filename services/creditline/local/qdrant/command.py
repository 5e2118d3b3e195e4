"""The command of the local Qdrant: it serves (`api.server`) or restores a snapshot (`storage.snapshots`)."""

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
    """Exit status 0 after a graceful stop, 2 when the process could not start."""
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
    parser.add_argument("--directory", type=Path, required=True, help="where collections are kept")
    parser.add_argument("--grpc-port", type=int, default=6334)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--metrics-port", type=int, default=0, help="0 leaves metrics out")
    parser.add_argument(
        "--kill-after-alias-actions",
        type=int,
        default=0,
        metavar="N",
        help="for fault tests: end as by kill -9 once N alias actions are on disk; 0: never",
    )
    run(LocalQdrant(**vars(parser.parse_args(arguments))))


def _restore(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(
        prog=f"{_PROGRAM} restore",
        description="Make a collection of a snapshot, while no process owns the directory.",
    )
    parser.add_argument("--directory", type=Path, required=True, help="where collections are kept")
    parser.add_argument(
        "--snapshot", type=Path, required=True, help="a file below DIRECTORY/snapshots, or a copy"
    )
    parser.add_argument("--collection", required=True, help="the name of the new collection")
    given = parser.parse_args(arguments)
    given.directory.mkdir(parents=True, exist_ok=True)
    with owned(given.directory):
        restore(given.snapshot, given.directory, checked_name(given.collection))
