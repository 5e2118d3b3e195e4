"""Memory of a service that has started: its garbage collector, and malloc's arenas of its threads."""

import os
import subprocess
import sys

import pytest

_SCRIPT = """
import gc, weakref
from creditline.long_lived import spare_from_collection

class Node:
    pass

def circle():
    node = Node()
    node.itself = node
    return weakref.ref(node)

gc.disable()
kept, garbage = [[] for _ in range(50_000)], circle()
spare_from_collection()
assert garbage() is None, "circular garbage of the start was kept for ever"
assert gc.get_freeze_count() > 50_000
assert gc.isenabled(), "the start's collector stayed off"
assert len(gc.get_objects()) < 5_000, "the collector still looks at what was there"

later = circle()
gc.collect()
assert later() is None, "circular garbage of requests is not freed"
"""


def test_what_was_there_is_spared_and_later_garbage_is_collected() -> None:
    ended = subprocess.run([sys.executable, "-c", _SCRIPT], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr


# Each thread holds what is too large for Python's own allocator and too small for a mapping of its own, so it
# needs an arena; malloc_info lists them all.
_THREADS = """
import ctypes, sys, tempfile, threading
from creditline.long_lived import share_arenas

share_arenas()
held, ready = [], threading.Barrier(9)

def hold():
    held.append([bytes(2_000) for _ in range(50)])
    ready.wait()
    ready.wait()

for _ in range(8):
    threading.Thread(target=hold).start()
ready.wait()
library = ctypes.CDLL(None)
library.fopen.restype = ctypes.c_void_p
with tempfile.NamedTemporaryFile() as listed:
    stream = ctypes.c_void_p(library.fopen(listed.name.encode(), b"w"))
    assert library.malloc_info(0, stream) == 0
    library.fclose(stream)
    print(listed.read().decode().count("<heap nr="))
ready.wait()
"""


@pytest.mark.skipif(
    not hasattr(os, "confstr") or "glibc" not in (os.confstr("CS_GNU_LIBC_VERSION") or ""),
    reason="arenas are glibc's",
)
@pytest.mark.parametrize(("operators", "arenas"), [(None, 2), ("3", 3)])
def test_threads_share_two_arenas_unless_the_operator_says_otherwise(
    operators: str | None, arenas: int
) -> None:
    variables = {name: value for name, value in os.environ.items() if name != "MALLOC_ARENA_MAX"}
    if operators is not None:
        variables["MALLOC_ARENA_MAX"] = operators
    ended = subprocess.run([sys.executable, "-c", _THREADS], env=variables, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    assert int(ended.stdout) == arenas
