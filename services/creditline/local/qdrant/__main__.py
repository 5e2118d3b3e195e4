"""`python -m creditline.local.qdrant`: see `creditline.local.qdrant.command`."""

import sys

from creditline.local.qdrant.huge_pages import ensure_huge_pages

if __name__ == "__main__":
    ensure_huge_pages()
    # Imported only now, because `ensure_huge_pages` may start this process again.
    from creditline.local.qdrant.command import main

    sys.exit(main())
