"""Builds the graph and quantized vectors of one shard in a separate process.

Qdrant Edge holds the GIL while it optimizes, so the process that answers queries must not do it.
`Optimization` starts `python -m creditline.local.qdrant.storage.optimizing SHARD SETTINGS PARENT_PID`.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import qdrant_edge as edge
from google.protobuf import json_format

from creditline.errors import Unavailable
from creditline.local.guardian import die_with_parent
from creditline.local.qdrant.translation.settings import edge_config
from creditline.qdrant_messages import qdrant

_TAIL_CHARACTERS = 500


class Optimization:
    """A running optimization of a shard that is not open. `cancel` may be called from any thread.

    Args:
        shard: the shard's directory.
        settings: the collection's settings file.
    """

    def __init__(self, shard: Path, settings: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", __spec__.name, str(shard), str(settings), str(os.getpid())],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )

    def wait(self) -> None:
        """Wait until it is done. Raises Unavailable, with the end of its output, if it failed."""
        _, output = self._process.communicate()
        if self._process.returncode != 0:
            raise Unavailable(
                f"the optimizer ended with status {self._process.returncode}; the collection is"
                f" unchanged{': ' if output else ''}{output.strip()[-_TAIL_CHARACTERS:]}",
                service="qdrant",
            )

    def cancel(self) -> None:
        """Kill the process; the shard directory is then unusable."""
        self._process.kill()


def read_settings(path: Path) -> qdrant.CreateCollection:
    """Read a collection's settings file."""
    return json_format.Parse(path.read_text(), qdrant.CreateCollection())


def main() -> None:
    """Optimize the shard at the first argument; end when the process whose pid is the third argument ends."""
    shard_directory, settings, parent = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    # The kernel signals when the thread that started this process ends; that thread waits for the process.
    die_with_parent(parent, signal.SIGKILL)
    shard = edge.EdgeShard.load(shard_directory, edge_config(read_settings(settings)))
    shard.optimize()
    shard.flush()
    shard.close()


if __name__ == "__main__":
    main()
