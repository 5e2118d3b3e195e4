"""`python -m creditline.gateway`: one gateway, configured by `CREDITLINE_*` environment variables."""

from __future__ import annotations

import gc
import sys


def main() -> int:
    """Serve until SIGTERM or SIGINT.

    Returns:
        The exit status, see `creditline.gateway.process.run`.
    """
    # A start makes many objects and hardly any garbage. `spare_from_collection` switches it on again.
    gc.disable()
    from creditline.gateway.process import run

    return run()


if __name__ == "__main__":
    sys.exit(main())
