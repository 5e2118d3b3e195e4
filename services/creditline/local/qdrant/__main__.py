"""`python -m creditline.local.qdrant`: see `creditline.local.qdrant.command`."""

import sys

from creditline.local.qdrant.huge_pages import ensure_huge_pages

if __name__ == "__main__":
    ensure_huge_pages()
    # Only now: what was imported before would have been imported twice.
    from creditline.local.qdrant.command import main

    sys.exit(main())
