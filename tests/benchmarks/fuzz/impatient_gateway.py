"""A gateway that waits a second only for the rest of a request.

Run `python -m tests.benchmarks.fuzz.impatient_gateway`.

Random changes cut requests short. The usual gateway waits ten seconds for each of these.
"""

from __future__ import annotations

import asyncio
import sys

from creditline.gateway.server import serve
from creditline.gateway.settings import GatewaySettings
from creditline.gateway.transport.limits import Limits
from creditline.settings import read_settings

LIMITS = Limits(head_seconds=1.0, chunk_seconds=1.0, body_seconds=2.0, linger_seconds=1.0)
"""Times for a head, between two parts of a body, for a body, and for the rest of a refused request."""
MODULE = "tests.benchmarks.fuzz.impatient_gateway"
"""Name of this module, to run."""


def main() -> int:
    """Serve until SIGTERM; the exit status is 0."""
    asyncio.run(serve(read_settings(GatewaySettings), LIMITS))
    return 0


if __name__ == "__main__":
    sys.exit(main())
