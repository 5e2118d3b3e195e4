"""`python -m creditline.embedder`: one embedder, configured by `CREDITLINE_*` environment variables.

`python -m creditline.embedder compile` only compiles the release's towers into the cache, for instance while
an image is built, so that no start has to.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Sequence

from creditline.embedder.settings import EmbedderSettings
from creditline.errors import CreditlineError
from creditline.observability.logs import configure_logging
from creditline.observability.tracing import tracing
from creditline.release import open_release
from creditline.settings import read_settings


def main(arguments: Sequence[str] = ()) -> int:
    """Serve until SIGTERM or SIGINT, or only compile the towers.

    Args:
        arguments: Nothing, or `compile`.

    Returns:
        The exit status: 2 when the settings, or the files that they name, do not permit a start; else 0.
    """
    parser = argparse.ArgumentParser(prog="python -m creditline.embedder", description="Serves a release.")
    parser.add_argument("task", nargs="?", choices=["compile"], help="only compile the towers into the cache")
    task = parser.parse_args(arguments).task
    try:
        # Read by torch at its import: large blocks in huge pages, as eager passes else wait for page faults.
        os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
        # Torch takes seconds to import, so wrong settings and a missing release are reported before it.
        settings = read_settings(EmbedderSettings)
        configure_logging("embedder", settings.log_format)
        if settings.tls_of_embedder is not None:
            settings.tls_of_embedder.read()
        release = open_release(settings.release_directory)
        if settings.embedder_reranks:
            release.require_reranking()
        from creditline.embedder.server import open_model, serve

        if task == "compile":
            open_model(settings)
            return 0
        with tracing("embedder", settings):
            asyncio.run(serve(settings))
    except CreditlineError as error:
        print(f"creditline embedder: {error.message}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
