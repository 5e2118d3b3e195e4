"""Memory in huge pages of 2 MB, where the kernel provides them.

They make a walk through the graph of a million works, and the work after it, a tenth faster: such a walk
reads quantized vectors all over hundreds of megabytes, and most reads miss the TLB. glibc requests huge pages
only if an environment variable is set before the process starts, so the process starts itself again.
"""

from __future__ import annotations

import os
import sys

_TUNABLES = "GLIBC_TUNABLES"
_HUGE_PAGES = "glibc.malloc.hugetlb=1"


def ensure_huge_pages() -> None:
    """Start this process again with huge pages and the same arguments, unless that has been done already.

    Call it before anything is opened or started. A value of `glibc.malloc.hugetlb` in the environment is
    kept.
    """
    tunables = os.environ.get(_TUNABLES, "")
    if "glibc.malloc.hugetlb=" in tunables or not sys.platform.startswith("linux"):
        return
    os.environ[_TUNABLES] = ":".join(filter(None, (tunables, _HUGE_PAGES)))
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
