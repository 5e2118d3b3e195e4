"""`python -m creditline.embedder`: one embedder, configured by `CREDITLINE_*` environment variables."""

from __future__ import annotations

import asyncio
import logging
import os
import sys

from creditline.embedder.settings import EmbedderSettings
from creditline.errors import CreditlineError
from creditline.release import open_release
from creditline.settings import read_settings


def main() -> int:
    """Serve until SIGTERM or SIGINT.

    Returns:
        The exit status: 2 when the settings, or the files that they name, do not permit a start; else 0.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        # Read by torch at its import: large blocks in huge pages, as eager passes else wait for page faults.
        os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
        # Torch takes seconds to import, so wrong settings and a missing release are reported before it.
        settings = read_settings(EmbedderSettings)
        if settings.tls_of_embedder is not None:
            settings.tls_of_embedder.read()
        open_release(settings.release_directory)
        from creditline.embedder.server import serve

        asyncio.run(serve(settings))
    except CreditlineError as error:
        print(f"creditline embedder: {error.message}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
