"""The local stack of one version, which runs until standard input ends.

Run as `stack_worker.py STATE_DIRECTORY` by `stacks.running_stack`, on the version that PYTHONPATH names: it
uses only what all versions have. It prints one line of JSON: where the stack answers, and its processes.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from creditline.local.stack import LocalStack
from creditline.release import open_release, reference_release_directory

_SERVICES = ("redis", "qdrant", "embedder", "gateway")


def main() -> None:
    """Serve until standard input ends."""
    release = open_release(reference_release_directory())
    with LocalStack(state_directory=Path(sys.argv[1]), services=_SERVICES) as stack:
        started = {
            "target": stack.gateway_target,
            "qdrant": stack.qdrant_target,
            "collection": release.collection,
            "api_key": stack.api_key,
            "generator": release.generator_fingerprint,
            "pids": stack.pids,
        }
        print(json.dumps(started), flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
