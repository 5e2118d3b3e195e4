"""Qdrant's protobuf messages and gRPC stubs, as qdrant-client ships them: `from … import qdrant`.

The code here needs nothing else of that package. Its `__init__` would also define hundreds of pydantic models
of Qdrant's REST API, which takes 30 MiB, a third of the gateway's start and most of the local Qdrant's; so it
runs only when something asks the package for what it defines. The generated modules are the package's own
either way: protobuf has one pool of messages in a process, in which each may be defined once.
"""

from __future__ import annotations

import importlib
import sys
import threading
from importlib.util import find_spec, module_from_spec
from types import ModuleType
from typing import TYPE_CHECKING, Any

__all__ = ["qdrant"]

_CLIENT = "qdrant_client"


class _DeferredPackage(ModuleType):
    """A package whose `__init__` runs when an attribute is read that it does not have yet.

    `importlib.util.LazyLoader` runs it when anything is read, even the `__path__` by which the import of a
    subpackage finds it.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._lock = threading.RLock()
        self._is_run = False

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("__"):
            with self._lock:
                self._run_once()
                if name in self.__dict__:
                    return self.__dict__[name]
        raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")

    def _run_once(self) -> None:
        if self._is_run or self.__spec__ is None or self.__spec__.loader is None:
            return
        # Before it runs: it may read attributes of its own package, which it has not defined yet.
        self._is_run = True
        try:
            self.__spec__.loader.exec_module(self)
        except BaseException:
            self._is_run = False
            raise


def _generated() -> ModuleType:
    """The subpackage `qdrant_client.grpc`. Raises ModuleNotFoundError."""
    found = find_spec(_CLIENT)
    if _CLIENT not in sys.modules and found is not None:
        package = _DeferredPackage(_CLIENT)
        like = module_from_spec(found)
        package.__dict__.update(like.__dict__)
        sys.modules[_CLIENT] = package
    return importlib.import_module(f"{_CLIENT}.grpc")


if TYPE_CHECKING:
    from qdrant_client import grpc as qdrant
else:
    qdrant = _generated()
