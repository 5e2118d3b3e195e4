"""Builds the graph and codes of one shard in a process of its own.

Qdrant Edge holds the GIL while it optimizes: the process that answers queries must not be the one that does.
`python -m creditline.local.qdrant.storage.optimizing SHARD SETTINGS PARENT_PID` is that process;
`Optimization` starts it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import qdrant_edge as edge
from google.protobuf import json_format
from qdrant_client import grpc as qdrant

from creditline.errors import Unavailable
from creditline.local.guardian import die_with_parent
from creditline.local.qdrant.translation.settings import edge_config

_TAIL_CHARACTERS = 500


class Optimization:
    """A started optimization of a closed shard directory. `cancel` may be called from any thread."""

    def __init__(self, shard: Path, settings: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", __spec__.name, str(shard), str(settings), str(os.getpid())],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )

    def wait(self) -> None:
        """Until it is done. Raises Unavailable, with what the process said, when it failed or was ended."""
        _, said = self._process.communicate()
        if self._process.returncode != 0:
            raise Unavailable(
                f"the optimizer ended with status {self._process.returncode}; the collection is as it was"
                f" before{': ' if said else ''}{said.strip()[-_TAIL_CHARACTERS:]}",
                service="qdrant",
            )

    def cancel(self) -> None:
        """End it now; its shard directory is then worth nothing."""
        self._process.kill()


def read_settings(path: Path) -> qdrant.CreateCollection:
    """A collection's settings, as its directory holds them."""
    return json_format.Parse(path.read_text(), qdrant.CreateCollection())


def main() -> None:
    """Optimize the shard at the first argument; end with the process whose pid is the third."""
    shard_directory, settings, parent = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    # The kernel takes the end of the thread that started us for the end of the parent, and it is the thread
    # that waits for us.
    die_with_parent(parent, signal.SIGKILL)
    shard = edge.EdgeShard.load(shard_directory, edge_config(read_settings(settings)))
    shard.optimize()
    shard.flush()
    shard.close()


if __name__ == "__main__":
    main()
