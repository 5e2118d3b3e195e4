"""The garbage collector of a service that has started."""

import subprocess
import sys

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
