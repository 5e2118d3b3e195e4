"""Memory of a process that runs for weeks: what its garbage collector looks at, and what its threads keep."""

from __future__ import annotations

import ctypes
import gc
import os

# A service allocates some thousand objects per answer and frees nearly all of them by reference counts.
_YOUNG, _MIDDLE, _OLD = 20_000, 20, 20
# `M_ARENA_MAX` of glibc's malloc.h, and the environment variable that sets the same.
_ARENA_MAX, _ARENA_VARIABLE = -8, "MALLOC_ARENA_MAX"
_ARENAS = 2


def spare_from_collection() -> None:
    """Exempt all objects that exist now from garbage collection; to be called once a service has started.

    Modules, models and tables are hundreds of thousands of objects. A collection of the oldest generation
    looks at each of them, which stopped a gateway for 0.2 s every two hundred answers. Collection is on
    afterwards, also where a start has switched it off.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG, _MIDDLE, _OLD)
    gc.enable()


def share_arenas() -> None:
    """Let all threads share two of malloc's arenas; to be called before a service starts its threads.

    By default, glibc gives every thread an arena of its own, up to eight a core. A freed picture stays in the
    arena of the thread that held it, so a gateway under load grew for ten minutes by a twentieth. An
    operator's `MALLOC_ARENA_MAX` is left as it is, and so is another C library, which has no arenas.
    """
    if _ARENA_VARIABLE not in os.environ and hasattr(ctypes.CDLL(None), "gnu_get_libc_version"):
        ctypes.CDLL(None).mallopt(_ARENA_MAX, _ARENAS)
