"""`python -m creditline.gateway`: one gateway, configured by `CREDITLINE_*` environment variables."""

from __future__ import annotations

import asyncio
import logging
import sys

from creditline.errors import CreditlineError
from creditline.gateway.server import serve
from creditline.gateway.settings import GatewaySettings
from creditline.settings import read_settings


def main() -> int:
    """Serve until SIGTERM or SIGINT.

    Returns:
        The exit status: 2 when the settings, or the files that they name, do not permit a start; else 0.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        asyncio.run(serve(read_settings(GatewaySettings)))
    except CreditlineError as error:
        print(f"creditline gateway: {error.message}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
