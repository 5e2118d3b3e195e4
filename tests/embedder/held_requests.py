"""Requests that frames of ended calls still hold, while no garbage collection runs."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, ModuleType


@contextmanager
def no_collection() -> Iterator[None]:
    """The block runs without garbage collections, after one."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def held_requests(module: ModuleType, kind: type[object]) -> int:
    """Number of objects of a class that local variables of a module's functions hold."""
    frames = [each for each in gc.get_objects() if isinstance(each, FrameType)]
    ours = [each for each in frames if each.f_code.co_filename == module.__file__]
    return sum(isinstance(held, kind) for each in ours for held in each.f_locals.values())
